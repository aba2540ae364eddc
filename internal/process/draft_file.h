// A file that is replaced as a whole.
#pragma once

#include <cstdio>
#include <memory>
#include <string>

#include "internal/protocol/error.h"

namespace logstream::process {

// What is written goes to a draft beside the file, which takes its place at the end: until then, and when writing
// fails, what stood there stands. A link stays one: what it leads to is replaced. The permissions are those of the file
// that is replaced, or the usual ones. Errors are kConfig and name the path.
class DraftFile {
public:
    static protocol::Result<std::unique_ptr<DraftFile>> open(const std::string& path);
    // Drops the draft, unless it was put in place.
    ~DraftFile();
    DraftFile(const DraftFile&) = delete;
    DraftFile& operator=(const DraftFile&) = delete;

    // Where links lead.
    const std::string& path() const { return path_; }
    // Until `complete`.
    std::FILE* stream() const { return stream_; }
    // All that was written is on disk, in the draft.
    protocol::Result<void> complete();
    protocol::Result<void> put_in_place();

private:
    DraftFile(std::string path, std::string draft, std::FILE* stream)
        : path_(std::move(path)), draft_(std::move(draft)), stream_(stream) {}

    std::string path_;
    std::string draft_;  // empty: it is in place
    std::FILE* stream_;
};

}  // namespace logstream::process
