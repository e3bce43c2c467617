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
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Drives kafka-clients 0.11 and later: ModernClient BOOTSTRAP. Defaults, but for the codec; the
 * `acks` of the version is kept where it is `all`, and is 1 in the older ones.
 */
public final class ModernClient {
  private static final long PATIENCE_MS = 30_000;
  private final String bootstrap;

  private ModernClient(String bootstrap) {
    this.bootstrap = bootstrap;
  }

  public static void main(String[] args) throws Exception {
    Lines.serve(new ModernClient(args[0])::handle);
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
    // acks and idempotence stay the defaults of the version unless the request differs from them.
    if (Lines.integer(request.get("acks")) != -1) {
      config.put("acks", request.get("acks").toString());
    }
    if (request.get("idempotent") != null) {
      config.put("enable.idempotence", request.get("idempotent"));
    }
    String topic = (String) request.get("topic");
    int partition = Lines.integer(request.get("partition"));
    List<Object> offsets = new ArrayList<>();
    try (KafkaProducer<byte[], byte[]> producer =
        new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
      List<Future<RecordMetadata>> sent = new ArrayList<>();
      for (Object element : Lines.array(request.get("records"))) {
        Map<String, Object> record = Lines.object(element);
        RecordHeaders headers = new RecordHeaders();
        for (Object pair : Lines.array(record.get("headers"))) {
          List<Object> header = Lines.array(pair);
          headers.add((String) header.get(0), Lines.bytes(header.get(1)));
        }
        sent.add(
            producer.send(
                new ProducerRecord<>(
                    topic,
                    partition,
                    Lines.longInteger(record.get("timestamp")),
                    Lines.bytes(record.get("key")),
                    Lines.bytes(record.get("value")),
                    headers)));
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
        for (ConsumerRecord<byte[], byte[]> record : Poll.poll(consumer, 500)) {
          if (records.size() == count) break;
          List<Object> headers = new ArrayList<>();
          for (Header header : record.headers()) {
            List<Object> pair = new ArrayList<>();
            pair.add(header.key());
            pair.add(Lines.text(header.value()));
            headers.add(pair);
          }
          records.add(
              Lines.record(
                  record.offset(), record.timestamp(), record.key(), record.value(), headers));
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
