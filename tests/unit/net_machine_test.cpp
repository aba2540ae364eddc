// Which machine this is.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "internal/net/machine.h"

namespace logstream::net {
namespace {

class Machines : public testing::Test {
protected:
    void put(const std::string& path, const std::string& content) {
        std::filesystem::create_directories(std::filesystem::path(root + path).parent_path());
        std::ofstream(root + path) << content;
    }
    ~Machines() override { std::filesystem::remove_all(root); }
    std::string root = [] {
        std::string name = (std::filesystem::temp_directory_path() / "machine-XXXXXX").string();
        return std::string(mkdtemp(name.data()));
    }();
};

TEST_F(Machines, AreNamedByWhatTheirSystemCallsThem) {
    EXPECT_EQ(this_machine(root), "");
    put("/var/lib/dbus/machine-id", "older\n");
    EXPECT_EQ(this_machine(root), "older");
    put("/etc/machine-id", "0123456789abcdef\n");
    EXPECT_EQ(this_machine(root), "0123456789abcdef");
}

// A clone that kept its machine id, or a machine that was taken back to a snapshot.
TEST_F(Machines, AreToldFromTheirClonesByTheHypervisor) {
    put("/etc/machine-id", "0123456789abcdef\n");
    const std::string generation = "/sys/firmware/qemu_fw_cfg/by_name/etc/vmgenid_guid/raw";
    put(generation, std::string(40, '\0') + "first");
    const std::string first = this_machine(root);
    put(generation, std::string(40, '\0') + "other");
    EXPECT_NE(this_machine(root), first);
    EXPECT_TRUE(first.starts_with("0123456789abcdef/"));
}

}  // namespace
}  // namespace logstream::net
