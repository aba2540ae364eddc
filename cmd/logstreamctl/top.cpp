// logstreamctl top: members, topics and groups on a live screen.
#include <curses.h>
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
            mvaddnstr(y, 0, line.text.c_str(), -1);
            if ((line.look & A_REVERSE) != 0) hline(' ', COLS);
        }
        attrset(A_NORMAL);
        refresh();
    }

private:
    explicit Screen(SCREEN* screen) : screen_(screen) {
        noecho();
        cbreak();
        nodelay(stdscr, TRUE);
        keypad(stdscr, TRUE);
        curs_set(0);
        scrollok(stdscr, FALSE);
    }
    SCREEN* screen_;
};

// Everything that one round of questions has told.
struct Picture {
    std::string trouble;
    Told told;
    Table topics;
    Table groups;
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

Table group_table(runtime::Session& session) {
    Table out{{"GROUP", "MEMBERS", "LAG"}};
    proto::Groups list;
    list.set_action(proto::Groups::LIST);
    const auto groups = ask_groups_owner(session, list, nullptr, kGroupLimit);
    if (!groups) return out;
    for (const proto::GroupInfo& group : groups->groups()) {
        if (out.size() > kMostGroups) break;
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
    return out;
}

Picture look(runtime::Session& session) {
    Picture out;
    auto told = tell_status(session);
    if (!told) {
        out.trouble = told.error().message;
        return out;
    }
    out.told = *std::move(told);
    if (!session.router().view().known())
        if (const auto connected = session.connect(); !connected) {
            out.trouble = connected.error().message;
            return out;
        }
    out.topics = topic_table(session);
    out.groups = group_table(session);
    return out;
}

void add_table(std::vector<Screen::Line>& out, const Table& table, std::size_t most) {
    const std::vector<std::string> lines = lines_of(table);
    for (std::size_t i = 0; i < lines.size() && i <= most; ++i)
        out.push_back({lines[i], i == 0 ? A_REVERSE : A_NORMAL});
    if (lines.size() > most + 1) out.push_back({fmt::format("… {} more", lines.size() - most - 1)});
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
    add_table(out, picture.groups, groups);
    return out;
}

}  // namespace

int top(const Common& common, Duration interval) {
    auto session = runtime::Session::open("logstreamctl", common.client);
    if (!session) return complain(session.error());
    auto screen = Screen::open();
    if (!screen) return complain(screen.error());
    (*session)->log().set_level(spdlog::level::off);  // the screen says it
    (*session)->router().want_all_topics();

    Picture picture;
    const auto draw = [&] { (*screen)->show(lines_of(picture, static_cast<std::size_t>(LINES), interval)); };
    // Whatever is being waited for: nothing is under way that would have to be ended in order.
    const auto quit = [&] {
        screen->reset();
        std::fflush(stdout);
        _exit(runtime::kDone);
    };
    int empty_reads = 0;
    const auto keys = net::PolledFd::open((*session)->loop(), net::Fd(dup(STDIN_FILENO)),
                                          [&] {
                                              // A terminal that is gone reads as nothing for ever.
                                              int key = getch();
                                              if (key == ERR && ++empty_reads > kMostEmptyReads) quit();
                                              for (; key != ERR; key = getch()) {
                                                  empty_reads = 0;
                                                  if (key == 'q' || key == 'Q') quit();
                                                  if (key == KEY_RESIZE) draw();
                                              }
                                          },
                                          nullptr);
    if (!keys) return complain(keys.error());
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) (*session)->loop().on_signal(signal, [&](int) { quit(); });
    (*session)->loop().on_signal(SIGWINCH, [&](int) {
        endwin();
        refresh();
        draw();
    });
    draw();
    while (true) {
        picture = look(**session);
        draw();
        (*session)->loop().run_until([] { return false; }, interval);
    }
}

}  // namespace logstream::ctl
