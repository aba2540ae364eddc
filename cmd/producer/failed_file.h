// The file of --failed: the records that were not acknowledged, as lines that can be sent again.
#pragma once

#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include "internal/process/draft_file.h"

namespace logstream::producer {

// Whether writing `path` would destroy what is read from `input`, or from standard input when that is empty: one file
// may have several names.
bool is_input(const std::string& path, const std::string& input);

// A regular file is replaced as a whole, by `finish` (process::DraftFile): a run that begins nothing leaves what stood
// there. Records of an earlier run are kept as `path`~, or with a number behind it where that exists. Anything else (a
// terminal, a pipe) is written at once.
class FailedFile {
public:
    static protocol::Result<std::unique_ptr<FailedFile>> open(const std::string& path);
    ~FailedFile();
    FailedFile(const FailedFile&) = delete;
    FailedFile& operator=(const FailedFile&) = delete;

    void write(std::string_view text) { std::fwrite(text.data(), 1, text.size(), draft_ ? draft_->stream() : direct_); }
    // Tells whether all that was written is in `path`, on disk.
    protocol::Result<void> finish();

private:
    protocol::Result<void> keep_earlier() const;
    explicit FailedFile(std::unique_ptr<process::DraftFile> draft) : path_(draft->path()), draft_(std::move(draft)) {}
    FailedFile(std::string path, std::FILE* direct) : path_(std::move(path)), direct_(direct) {}

    std::string path_;
    std::unique_ptr<process::DraftFile> draft_;  // nullptr: `path_` itself is written
    std::FILE* direct_{};
};

}  // namespace logstream::producer
