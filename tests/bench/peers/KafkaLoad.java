// Load on a Kafka topic of one partition and three replicas. A flood has batches of 256 KiB, a linger time of 1 ms and
// five batches under way, as logstream-bench has.
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class KafkaLoad {
    private final String servers;
    private final boolean flood;
    private final double rate; // records per second; 0: one in flight, or flood
    private final int bytes;
    private final double seconds;
    private final String topic = "bench-" + System.nanoTime();
    private long started, begin, end; // of what counts

    // Latencies; counted by one thread each.
    private class Counted {
        private long[] us = new long[1 << 20];
        private int count;

        void add(long since) {
            long now = System.nanoTime();
            if (now < begin || now >= end) return;
            if (count == us.length) us = Arrays.copyOf(us, 2 * count);
            us[count++] = (now - since) / 1000;
        }

        String json() {
            Arrays.sort(us, 0, count);
            return String.format("{\"p50\":%d,\"p99\":%d,\"max\":%d}", at(0.5), at(0.99), at(1));
        }

        private long at(double quantile) {
            return count == 0 ? 0 : us[(int) (quantile * (count - 1))];
        }
    }

    KafkaLoad(String[] words) {
        servers = words[0];
        flood = words[1].equals("flood");
        rate = flood || words[1].equals("one") ? 0 : Double.parseDouble(words[1]);
        bytes = Integer.parseInt(words[2]);
        seconds = Double.parseDouble(words[3]);
    }

    void run(double warmUp) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", servers))) {
            admin.createTopics(List.of(new NewTopic(topic, Optional.of(1), Optional.of((short) 3)))).all().get();
        }
        Counted acknowledged = new Counted(), delivered = new Counted();
        try (var producer = openProducer(); var consumer = openConsumer()) {
            started = System.nanoTime();
            begin = started + (long) (warmUp * 1e9);
            end = begin + (long) (seconds * 1e9);
            Thread reader = new Thread(() -> consume(consumer, delivered));
            if (rate > 0) reader.start();
            produce(producer, acknowledged);
            reader.join();
        }
        double perSecond = acknowledged.count / seconds;
        String read = rate > 0 ? ",\"deliver_us\":" + delivered.json() : "";
        System.out.printf("{\"records_per_s\":%.1f,\"mb_per_s\":%.3f,\"ack_us\":%s%s}%n", perSecond,
            perSecond * bytes / 1e6, acknowledged.json(), read);
    }

    // Connected, as far as that can be had.
    private KafkaProducer<byte[], byte[]> openProducer() {
        Map<String, Object> settings = Map.of("bootstrap.servers", servers, "acks", "all", "batch.size", 256 << 10,
            "linger.ms", flood ? 1 : 0, "max.in.flight.requests.per.connection", 5, "buffer.memory", 8L << 20,
            "key.serializer", ByteArraySerializer.class, "value.serializer", ByteArraySerializer.class);
        var producer = new KafkaProducer<byte[], byte[]>(settings);
        producer.partitionsFor(topic);
        return producer;
    }

    private KafkaConsumer<byte[], byte[]> openConsumer() {
        Map<String, Object> settings = Map.of("bootstrap.servers", servers, "auto.offset.reset", "earliest",
            "key.deserializer", ByteArrayDeserializer.class, "value.deserializer", ByteArrayDeserializer.class);
        var consumer = new KafkaConsumer<byte[], byte[]>(settings);
        consumer.assign(List.of(new TopicPartition(topic, 0)));
        consumer.poll(Duration.ofMillis(500));
        return consumer;
    }

    private void produce(KafkaProducer<byte[], byte[]> producer, Counted acknowledged) throws Exception {
        for (long number = 0; System.nanoTime() < end; ++number) {
            if (rate > 0) {
                long wait = started + (long) (number / rate * 1e9) - System.nanoTime();
                if (wait > 0) Thread.sleep(wait / 1_000_000, (int) (wait % 1_000_000));
            }
            long now = System.nanoTime();
            byte[] record = new byte[bytes];
            ByteBuffer.wrap(record).putLong(now);
            var sent = producer.send(new ProducerRecord<>(topic, record), (metadata, failure) -> {
                if (failure == null) acknowledged.add(now);
                else System.err.println("kafka: " + failure);
            });
            if (!flood && rate == 0) sent.get();
        }
        producer.flush();
    }

    private void consume(KafkaConsumer<byte[], byte[]> consumer, Counted delivered) {
        while (System.nanoTime() < end)
            for (var record : consumer.poll(Duration.ofMillis(100)))
                delivered.add(ByteBuffer.wrap(record.value()).getLong());
    }

    public static void main(String[] words) throws Exception {
        new KafkaLoad(words).run(Double.parseDouble(words[4]));
    }
}
