// Load on a Redis stream. A batch is as many XADD as make 256 KiB and a WAIT for two replicas, sent together; five
// connections have a batch under way each, as logstream-bench has five batches.
#include <hiredis/hiredis.h>

#include <cstring>
#include <thread>

#include "load.h"

namespace {

constexpr int kConnections = 5;
constexpr std::size_t kBatchBytes = 256 << 10;

class Connection {
public:
    explicit Connection(const std::string& server) : context_(redisConnect(server.c_str(), 6379)) {
        if (context_ == nullptr || context_->err != 0) fail();
    }
    ~Connection() { redisFree(context_); }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    void add(const std::string& record) {
        const char* words[] = {"XADD", "bench", "*", "v", record.data()};
        const std::size_t sizes[] = {4, 5, 1, 1, record.size()};
        if (redisAppendCommandArgv(context_, 5, words, sizes) != REDIS_OK) fail();
    }
    // Returns when all that was added, `records`, is acknowledged.
    void wait(std::size_t records) {
        if (redisAppendCommand(context_, "WAIT 2 0") != REDIS_OK) fail();
        for (std::size_t i = 0; i <= records; ++i) freeReplyObject(next_reply());
    }
    // Records after the one that `last` names, which moves on; waits for some.
    template <class Each>
    void read(std::string& last, Each each) {
        if (redisAppendCommand(context_, "XREAD COUNT 1000 BLOCK 100 STREAMS bench %s", last.c_str()) != REDIS_OK)
            fail();
        redisReply* const reply = next_reply();
        if (reply->type == REDIS_REPLY_ARRAY) {
            const redisReply* const entries = reply->element[0]->element[1];
            for (std::size_t i = 0; i < entries->elements; ++i) {
                last = entries->element[i]->element[0]->str;
                each(*entries->element[i]->element[1]->element[1]);
            }
        }
        freeReplyObject(reply);
    }

private:
    redisReply* next_reply() {
        void* reply = nullptr;
        if (redisGetReply(context_, &reply) != REDIS_OK) fail();
        auto* const read = static_cast<redisReply*>(reply);
        if (read->type == REDIS_REPLY_ERROR) {
            std::fprintf(stderr, "redis: %s\n", read->str);
            std::exit(1);
        }
        return read;
    }
    [[noreturn]] void fail() {
        std::fprintf(stderr, "redis: %s\n", context_ == nullptr ? "no memory" : context_->errstr);
        std::exit(1);
    }

    redisContext* context_;
};

// Of a paced load each connection, by its number, has every fifth record.
void produce(const Load& load, int connection_number, Counted& acknowledged) {
    Connection connection(load.servers);
    std::string record(load.record_bytes, 'r');
    const std::size_t batch = load.flood ? std::max<std::size_t>(1, kBatchBytes / load.record_bytes) : 1;
    for (std::uint64_t sent = 0; !load.over(); sent += batch) {
        if (load.rate > 0) std::this_thread::sleep_until(load.due(kConnections * sent + connection_number));
        const auto handed_over = Clock::now();
        const std::int64_t stamp = nanoseconds(handed_over);
        std::memcpy(record.data(), &stamp, sizeof stamp);
        for (std::size_t i = 0; i < batch; ++i) connection.add(record);
        connection.wait(batch);
        acknowledged.add(handed_over, batch);
    }
}

void consume(const Load& load, Counted& delivered) {
    Connection connection(load.servers);
    std::string last = "$";
    while (!load.over())
        connection.read(last, [&](const redisReply& value) {
            std::int64_t stamp = 0;
            if (value.len < sizeof stamp) return;
            std::memcpy(&stamp, value.str, sizeof stamp);
            delivered.add(Clock::time_point(Clock::duration(stamp)), 1);
        });
}

}  // namespace

int main(int argc, char** argv) {
    const Load load(argc, argv);
    Counted acknowledged(load);
    Counted delivered(load);
    {
        std::vector<std::jthread> threads;
        if (load.rate > 0) threads.emplace_back([&] { consume(load, delivered); });
        const int connections = load.flood || load.rate > 0 ? kConnections : 1;
        for (int i = 0; i < connections; ++i) threads.emplace_back([&, i] { produce(load, i, acknowledged); });
    }
    print_result(load, acknowledged, delivered);
}
