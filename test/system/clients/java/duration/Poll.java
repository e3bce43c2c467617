import java.time.Duration;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;

/** One poll, as kafka-clients 2.0 and later want it. */
final class Poll {
  private Poll() {}

  static ConsumerRecords<byte[], byte[]> poll(KafkaConsumer<byte[], byte[]> consumer, long ms) {
    return consumer.poll(Duration.ofMillis(ms));
  }
}
