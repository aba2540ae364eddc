#include "cmd/runtime/choices.h"

#include <string>
#include <vector>

#include "cmd/runtime/values.h"
#include "internal/manual/program.h"

namespace logstream::runtime {

CLI::Option* add_acks(CLI::App& app, proto::Acks& target, const std::string& help) {
    // Kafka's numbers are taken, too, by those who know them, and not offered.
    std::vector<std::string> words;
    for (const auto& word : kAcks)
        if (to_string(word.value) == word.text) words.emplace_back(word.text);
    return manual::set_words(add_value(app, "--acks", target, help, one_of(kAcks)), words)->type_name("WHO");
}

CLI::Option* add_compression(CLI::App& app, std::string& target) {
    const std::vector<std::string> codecs{"none", "lz4", "zstd", "snappy", "gzip", "auto"};
    auto* option =
        app.add_option("--compression", target,
                       "none, lz4, zstd, snappy, gzip, or auto: measures the stream and uses lz4 or zstd where "
                       "that saves bytes")
            ->check(CLI::IsMember(codecs).description(""));
    return manual::set_words(option, codecs)->type_name("CODEC")->capture_default_str();
}

}  // namespace logstream::runtime
