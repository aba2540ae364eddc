// Bytes from outside may be anything: what is no UTF-8 is shown without loss, and nothing throws.
#include <gtest/gtest.h>

#include "internal/text/json.h"
#include "internal/text/utf8.h"

namespace logstream::text {
namespace {

using nlohmann::json;
using namespace std::string_literals;
using namespace std::string_view_literals;

TEST(Utf8, OfEveryLength) {
    for (const auto& text : {""s, "plain"s, "caf\xc3\xa9"s, "\xe2\x82\xac"s, "\xf0\x9f\x98\x80"s, "\xf4\x8f\xbf\xbf"s,
                             "\xed\x9f\xbf"s, "\xee\x80\x80"s, "\0 in between"s})
        EXPECT_TRUE(is_utf8(text)) << text;
}

TEST(Utf8, NotCutShortOverlongASurrogateOrBeyondUnicode) {
    for (const auto& text : {"caf\xe9"s, "\x80"s, "\xc3"s, "\xc3 "s, "\xc0\xaf"s, "\xe0\x80\xaf"s, "\xe2\x82"s,
                             "\xed\xa0\x80"s, "\xf0\x80\x80\xaf"s, "\xf4\x90\x80\x80"s, "\xf5\x80\x80\x80"s, "\xff"s})
        EXPECT_FALSE(is_utf8(text)) << base64(text);
}

TEST(Utf8, AgreesWithTheJsonLibrary) {
    for (unsigned first = 0; first < 256; ++first)
        for (unsigned second = 0; second < 256; ++second) {
            const std::string text{static_cast<char>(first), static_cast<char>(second), '\x80', '\x80'};
            for (const std::size_t size : {1, 2, 3, 4}) {
                const std::string part = text.substr(0, size);
                const bool kept = json::parse(dump(json(part))).get<std::string>() == part;
                EXPECT_EQ(is_utf8(part), kept) << base64(part);
            }
        }
}

TEST(Base64, AsInTheStandard) {
    EXPECT_EQ(base64(""), "");
    EXPECT_EQ(base64("f"), "Zg==");
    EXPECT_EQ(base64("fo"), "Zm8=");
    EXPECT_EQ(base64("foo"), "Zm9v");
    EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
    for (const auto bytes : {""sv, "f"sv, "fo"sv, "foo"sv, "\xff\xfe\x00"sv})
        EXPECT_EQ(from_base64(base64(bytes)), bytes);
    for (const auto text : {"Zg", "Zg=", "Z===", "====", "Zh==", "Zm9=", "Zm 9", "Zg==Zg==", "Zm9\n"})
        EXPECT_EQ(from_base64(text), std::nullopt) << text;
    EXPECT_EQ(base64("\xff\xfe\x00"s), "//4A");
}

TEST(Json, ShowsWhatIsNotUtf8InPlaceOfIt) {
    json out;
    put(out, "value", "caf\xc3\xa9");
    put(out, "key", "caf\xe9");
    put(out, "nothing", std::nullopt);
    EXPECT_EQ(dump(out), R"({"key_base64":"Y2Fm6Q==","nothing":null,"value":"café"})");
}

TEST(Json, OfForeignBytesIsWrittenAllTheSame) { EXPECT_EQ(dump(json{{"a", "\xe9"}}), "{\"a\":\"\xef\xbf\xbd\"}"); }

TEST(Json, OfAnotherShapeGivesWhatStandsForNothing) {
    for (const auto* text : {"{}", "[]", "7", "\"x\"", "null", R"({"f":{}})", R"({"f":null})", R"({"f":[1]})"}) {
        const json value = json::parse(text);
        EXPECT_EQ(string_at(value, "f", "?"), "?") << text;
        EXPECT_EQ(bool_at(value, "f", true), true) << text;
        EXPECT_EQ(count_at(value, "f", 7), 7u) << text;
        EXPECT_EQ(number_at(value, "f", 0.5), 0.5) << text;
    }
    EXPECT_EQ(count_at(json{{"f", -1}}, "f", 7), 7u);
    const json right{{"s", "text"}, {"b", true}, {"n", 12u}, {"d", 1.5}};
    EXPECT_EQ(string_at(right, "s"), "text");
    EXPECT_TRUE(bool_at(right, "b"));
    EXPECT_EQ(count_at(right, "n"), 12u);
    EXPECT_EQ(number_at(right, "d"), 1.5);
}

}  // namespace
}  // namespace logstream::text
