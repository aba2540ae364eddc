// Which version of this program a data folder needs at least.
#pragma once

#include <string>

#include "internal/storage/group_commit.h"

namespace logstream::storage {

class FormatFile {
public:
    FormatFile(Disk& disk, GroupCommit& commit, const std::string& dir)
        : disk_(disk), commit_(commit), path_(dir + "/format") {}

    // Start-up only, before any other file is looked at: what a later version wrote would count as damaged. kConfig
    // when the folder needs a greater version than `known`. A damaged file tells nothing.
    Result<void> load(std::uint32_t known);
    // From now on the folder needs this version. Goes to the disk before whatever is written after it.
    void raise(std::uint32_t version);

private:
    Disk& disk_;
    GroupCommit& commit_;
    std::string path_;
    std::uint32_t version_{1};  // of a folder without the file
};

}  // namespace logstream::storage
