import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Drives kafka-clients 0.10.1 and 0.10.2, which know no headers: EarlyClient BOOTSTRAP. Defaults, but for
 * the codec and acks.
 */
public final class EarlyClient {
  private static final long PATIENCE_MS = 30_000;
  private static final List<Object> NO_HEADERS = Collections.emptyList();
  private final String bootstrap;

  private EarlyClient(String bootstrap) {
    this.bootstrap = bootstrap;
  }

  public static void main(String[] args) throws Exception {
    Lines.serve(new EarlyClient(args[0])::handle);
  }

  private Map<String, Object> handle(Map<String, Object> request) throws Exception {
    String op = (String) request.get("op");
    switch (op) {
      case "produce":
        return produce(request);
      case "read":
        return read(request);
      case "offsetForTime":
        return offsetForTime(request);
      default:
        throw new IllegalArgumentException("no op " + op);
    }
  }

  private Map<String, Object> produce(Map<String, Object> request) throws Exception {
    Map<String, Object> config = new HashMap<>();
    config.put("bootstrap.servers", bootstrap);
    config.put("compression.type", request.get("codec"));
    config.put("acks", request.get("acks").toString());
    String topic = (String) request.get("topic");
    int partition = Lines.integer(request.get("partition"));
    List<Object> offsets = new ArrayList<>();
    try (KafkaProducer<byte[], byte[]> producer =
        new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
      List<Future<RecordMetadata>> sent = new ArrayList<>();
      for (Object element : Lines.array(request.get("records"))) {
        Map<String, Object> record = Lines.object(element);
        sent.add(
            producer.send(
                new ProducerRecord<>(
                    topic,
                    partition,
                    Lines.longInteger(record.get("timestamp")),
                    Lines.bytes(record.get("key")),
                    Lines.bytes(record.get("value")))));
      }
      producer.flush();
      for (Future<RecordMetadata> future : sent) {
        offsets.add(future.get(PATIENCE_MS, TimeUnit.MILLISECONDS).offset());
      }
    }
    return Lines.answer("offsets", offsets);
  }

  private KafkaConsumer<byte[], byte[]> consumer() {
    Map<String, Object> config = new HashMap<>();
    config.put("bootstrap.servers", bootstrap);
    config.put("enable.auto.commit", false);
    config.put("auto.offset.reset", "none");
    // Closing waits for the fetch that is under way at the end of the log.
    config.put("fetch.max.wait.ms", 100);
    return new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
  }

  private static TopicPartition partitionOf(Map<String, Object> request) {
    int partition = Lines.integer(request.get("partition"));
    return new TopicPartition((String) request.get("topic"), partition);
  }

  private Map<String, Object> read(Map<String, Object> request) {
    TopicPartition partition = partitionOf(request);
    int count = Lines.integer(request.get("count"));
    List<Object> records = new ArrayList<>();
    long deadline = System.nanoTime() + PATIENCE_MS * 1_000_000;
    try (KafkaConsumer<byte[], byte[]> consumer = consumer()) {
      consumer.assign(Collections.singletonList(partition));
      consumer.seek(partition, Lines.longInteger(request.get("offset")));
      while (records.size() < count) {
        if (System.nanoTime() > deadline) {
          throw new IllegalStateException(records.size() + " of " + count + " records");
        }
        for (ConsumerRecord<byte[], byte[]> record : consumer.poll(500)) {
          if (records.size() == count) break;
          records.add(
              Lines.record(
                  record.offset(), record.timestamp(), record.key(), record.value(), NO_HEADERS));
        }
      }
    }
    return Lines.answer("records", records);
  }

  private Map<String, Object> offsetForTime(Map<String, Object> request) {
    TopicPartition partition = partitionOf(request);
    Long timestamp = Lines.longInteger(request.get("timestamp"));
    try (KafkaConsumer<byte[], byte[]> consumer = consumer()) {
      OffsetAndTimestamp found =
          consumer.offsetsForTimes(Collections.singletonMap(partition, timestamp)).get(partition);
      return Lines.answer("offset", found == null ? -1L : found.offset());
    }
  }
}
