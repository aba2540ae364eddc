// The file of --failed: the records that were not acknowledged, as lines that can be sent again.
#pragma once

#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include "internal/protocol/error.h"

namespace logstream::producer {

// Whether writing `path` would destroy what is read from `input`, or from standard input when that is empty: one file
// may have several names.
bool is_input(const std::string& path, const std::string& input);

// What is written goes to a file beside `path`, which `finish` puts in its place: until then what stood there stands,
// and a run that begins nothing leaves it. Records of an earlier run are kept as `path`~, or with a
// number behind it where that exists. What is no regular file (a
// terminal, a pipe) is written at once.
class FailedFile {
public:
    static protocol::Result<std::unique_ptr<FailedFile>> open(const std::string& path);
    ~FailedFile();
    FailedFile(const FailedFile&) = delete;
    FailedFile& operator=(const FailedFile&) = delete;

    void write(std::string_view text) { std::fwrite(text.data(), 1, text.size(), file_); }
    // Tells whether all that was written is in `path`, on disk.
    protocol::Result<void> finish();

private:
    protocol::Result<void> keep_earlier() const;
    FailedFile(std::string path, std::FILE* file, std::string draft)
        : path_(std::move(path)), file_(file), draft_(std::move(draft)) {}

    std::string path_;
    std::FILE* file_;
    std::string draft_;  // empty: `path_` itself is written
};

}  // namespace logstream::producer
