// logstreamctl top: members, topics and groups on a live screen.
#include <curses.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <clocale>
#include <csignal>
#include <cstdlib>

#include "cmd/logstreamctl/command.h"
#include "cmd/logstreamctl/figures.h"
#include "cmd/logstreamctl/status.h"
#include "cmd/runtime/start_at.h"
#include "internal/config/value.h"
#include "internal/net/polled_fd.h"

namespace logstream::ctl {

namespace {

constexpr std::size_t kMostGroups = 20;  // each is asked for
constexpr Duration kGroupLimit = std::chrono::seconds(1);
constexpr int kMostEmptyReads = 100;

// The terminal as curses has it, until the end of the scope.
class Screen {
public:
    static Result<std::unique_ptr<Screen>> open() {
        if (isatty(STDIN_FILENO) != 1 || isatty(STDOUT_FILENO) != 1)
            return protocol::fail(ErrorCode::kInvalid, "top needs a terminal; logstreamctl status --watch does not");
        std::setlocale(LC_ALL, "");
        SCREEN* screen = newterm(nullptr, stdout, stdin);
        if (screen == nullptr) {
            const char* type = std::getenv("TERM");
            return protocol::fail(ErrorCode::kInvalid, "no terminal of the type '{}' is known (TERM)",
                                  type == nullptr ? "" : type);
        }
        return std::unique_ptr<Screen>(new Screen(screen));
    }
    ~Screen() {
        endwin();
        delscreen(screen_);
        // Whoever waits for keys makes the terminal non-blocking, which the shell shares.
        fcntl(STDIN_FILENO, F_SETFL, flags_);
    }
    Screen(const Screen&) = delete;
    Screen& operator=(const Screen&) = delete;

    struct Line {
        std::string text;
        attr_t look = A_NORMAL;
    };
    // What does not fit is left out.
    void show(const std::vector<Line>& lines) {
        erase();
        for (int y = 0; y < LINES && y < static_cast<int>(lines.size()); ++y) {
            const Line& line = lines[static_cast<std::size_t>(y)];
            attrset(static_cast<int>(line.look));
            mvaddstr(y, 0, cut(line.text).c_str());
            if ((line.look & A_REVERSE) != 0) hline(' ', COLS);
        }
        attrset(A_NORMAL);
        refresh();
    }

private:
    // To bytes, of which there are no fewer than columns; never within a character.
    static std::string cut(const std::string& text) {
        auto width = static_cast<std::size_t>(std::max(COLS, 0));
        if (text.size() <= width) return text;
        while (width > 0 && (static_cast<unsigned char>(text[width]) & 0xC0U) == 0x80U) --width;
        return text.substr(0, width);
    }
    explicit Screen(SCREEN* screen) : screen_(screen), flags_(fcntl(STDIN_FILENO, F_GETFL)) {
        noecho();
        cbreak();
        nodelay(stdscr, TRUE);
        keypad(stdscr, TRUE);
        curs_set(0);
        scrollok(stdscr, FALSE);
    }
    SCREEN* screen_;
    int flags_;  // of the terminal's descriptor
};

// Everything that one round of questions has told.
struct Picture {
    std::string trouble;
    Told told;
    Table topics;
    Table groups;
    std::size_t groups_left_out{};
};

Table topic_table(runtime::Session& session) {
    struct Row {
        double rate;
        std::vector<std::string> cells;
    };
    const Figures figures = ask_figures(session);
    std::vector<Row> rows;
    for (const client::Topic& topic : session.router().view().topics()) {
        const auto known = figures.find(topic);
        const FiguresText text(known);
        rows.push_back(
            {known ? known->records_per_second() : 0,
             {topic.name, std::to_string(topic.partitions), text.records, text.size, text.rate, text.last_write}});
    }
    std::ranges::stable_sort(rows, std::greater<>(), &Row::rate);
    Table out{{"TOPIC", "PARTITIONS", "RECORDS", "SIZE", "RATE", "LAST WRITE (UTC)"}};
    for (Row& row : rows) out.push_back(std::move(row.cells));
    return out;
}

void add_groups(runtime::Session& session, Picture& picture) {
    Table& out = picture.groups;
    out = {{"GROUP", "MEMBERS", "LAG"}};
    proto::Groups list;
    list.set_action(proto::Groups::LIST);
    const auto groups = ask_groups_owner(session, list, nullptr, kGroupLimit);
    if (!groups) return;
    const protocol::TimePoint begin = session.loop().now();
    for (const proto::GroupInfo& group : groups->groups()) {
        if (out.size() > kMostGroups || session.loop().now() - begin > kGroupLimit) {
            ++picture.groups_left_out;
            continue;
        }
        proto::Groups describe;
        describe.set_action(proto::Groups::DESCRIBE);
        describe.set_group(group.group());
        const auto details = ask_groups_owner(session, describe, nullptr, kGroupLimit);
        std::int64_t lag = 0;
        if (details && details->groups_size() == 1)
            for (const proto::GroupPosition& position : details->groups(0).positions())
                if (position.committed() >= 0)
                    lag += std::max<std::int64_t>(0, position.high_watermark() - position.committed());
        out.push_back({group.group(), std::to_string(group.members()), details ? std::to_string(lag) : "?"});
    }
}

Picture look(runtime::Session& session) {
    Picture out;
    auto told = tell_status(session);
    if (!told) {
        out.trouble = told.error().message;
        return out;
    }
    out.told = *std::move(told);
    if (!session.router().view().known() && !session.connect()) return out;  // the status says why
    out.topics = topic_table(session);
    add_groups(session, out);
    return out;
}

// `left_out`: rows that the table lacks.
void add_table(std::vector<Screen::Line>& out, const Table& table, std::size_t most, std::size_t left_out = 0) {
    const std::vector<std::string> lines = lines_of(table);
    for (std::size_t i = 0; i < lines.size() && i <= most; ++i)
        out.push_back({lines[i], i == 0 ? A_REVERSE : A_NORMAL});
    if (lines.size() > most + 1) left_out += lines.size() - most - 1;
    if (left_out > 0) out.push_back({fmt::format("… {} more", left_out)});
    out.push_back({});
}

std::vector<Screen::Line> lines_of(const Picture& picture, std::size_t height, Duration interval) {
    std::vector<Screen::Line> out;
    const std::string clock = config::format_time(runtime::wall_clock_ms()).substr(0, 19);
    if (!picture.trouble.empty() || !picture.told.status.is_object()) {
        out.push_back({fmt::format("LogStream  {} UTC  q quits", clock), A_BOLD});
        out.push_back({picture.trouble.empty() ? "looking for brokers" : picture.trouble});
        return out;
    }
    const json& status = picture.told.status;
    const bool quorum = text::bool_at(status, "quorum");
    out.push_back(
        {fmt::format("LogStream {}  view {}  leader {}  {}  {} UTC  every {:g} s, q quits",
                     text::string_at(status, "cluster", "?"), text::count_at(status, "view"), leader_name(status),
                     text::string_at(status, "transport", "?"), clock, std::chrono::duration<double>(interval).count()),
         A_BOLD});
    if (!quorum) out.push_back({"NO QUORUM: " + text::string_at(status, "reason", "reason unknown"), A_BOLD});
    if (status.contains("warnings"))
        for (const json& warning : status["warnings"])
            if (warning.is_string()) out.push_back({"WARNING " + warning.get<std::string>(), A_BOLD});
    out.push_back({});
    add_table(out, member_table(status), status["members"].size());
    for (const std::string& line : gone_lines(status)) out.push_back({line, A_BOLD});
    // What is left is shared; a table that needs less leaves the rest to the other.
    const std::size_t left = height > out.size() + 6 ? height - out.size() - 6 : 2;
    const std::size_t groups = std::min(picture.groups.size(), std::max<std::size_t>(left / 3, 1));
    add_table(out, picture.topics, std::max<std::size_t>(left - std::min(groups, left - 1), 1));
    add_table(out, picture.groups, groups, picture.groups_left_out);
    return out;
}

}  // namespace

int top(const Common& common, Duration interval) {
    auto screen = Screen::open();
    if (!screen) return complain(screen.error());
    Picture picture;
    const auto draw = [&] { (*screen)->show(lines_of(picture, static_cast<std::size_t>(LINES), interval)); };
    // Whatever is being waited for: nothing is under way that would have to be ended in order.
    const auto quit = [&] {
        screen->reset();
        std::fflush(stdout);
        _exit(runtime::kDone);
    };
    const auto fail = [&](const Error& error) {
        screen->reset();
        return complain(error);
    };
    int empty_reads = 0;
    const auto read_keys = [&] {
        // A terminal that is gone reads as nothing for ever.
        int key = getch();
        if (key == ERR && ++empty_reads > kMostEmptyReads) quit();
        for (; key != ERR; key = getch()) {
            empty_reads = 0;
            if (key == 'q' || key == 'Q') quit();
            if (key == KEY_RESIZE) draw();
        }
    };
    // A session that found no cluster looks for none any more: then comes the next one.
    while (true) {
        const auto session = runtime::Session::open("logstreamctl", common.client);
        if (!session) return fail(session.error());
        net::Loop& loop = (*session)->loop();
        (*session)->log().set_level(spdlog::level::off);  // the screen says it
        (*session)->router().want_all_topics();
        const auto keys = net::PolledFd::open(loop, net::Fd(dup(STDIN_FILENO)), read_keys, nullptr);
        if (!keys) return fail(keys.error());
        for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) loop.on_signal(signal, [&](int) { quit(); });
        loop.on_signal(SIGWINCH, [&](int) {
            endwin();
            refresh();
            draw();
        });
        draw();
        while (!(*session)->router().failure()) {
            picture = look(**session);
            draw();
            loop.run_until([] { return false; }, interval);
        }
    }
}

}  // namespace logstream::ctl
