import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.Properties;
import java.util.TreeSet;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * A member of a group: BOOTSTRAP GROUP TOPIC ASSIGNOR SESSION_TIMEOUT_MS [INSTANCE_ID] (see
 * ../member.ts).
 */
public final class GroupMember {
  private static final TreeSet<Integer> owned = new TreeSet<>();

  private static synchronized void print(String line) {
    System.out.println(line);
  }

  private static void change(Collection<TopicPartition> partitions, boolean present) {
    for (TopicPartition one : partitions) {
      if (present) {
        owned.add(one.partition());
      } else {
        owned.remove(one.partition());
      }
    }
    print("{\"event\":\"assigned\",\"partitions\":" + owned + "}");
  }

  private static String assignor(String name) {
    String prefix = "org.apache.kafka.clients.consumer.";
    switch (name) {
      case "roundrobin":
        return prefix + "RoundRobinAssignor";
      case "cooperative-sticky":
        return prefix + "CooperativeStickyAssignor";
      default:
        return prefix + "RangeAssignor";
    }
  }

  public static void main(String[] args) throws Exception {
    Properties config = new Properties();
    config.put("bootstrap.servers", args[0]);
    config.put("group.id", args[1]);
    config.put("auto.offset.reset", "earliest");
    config.put("enable.auto.commit", "false");
    config.put("partition.assignment.strategy", assignor(args[3]));
    config.put("session.timeout.ms", args[4]);
    config.put("heartbeat.interval.ms", "500");
    config.put("metadata.max.age.ms", "5000");
    if (args.length > 5) {
      config.put("group.instance.id", args[5]);
    }
    config.put("key.deserializer", ByteArrayDeserializer.class.getName());
    config.put("value.deserializer", ByteArrayDeserializer.class.getName());
    KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(config);
    AtomicBoolean stopping = new AtomicBoolean();
    Thread reader =
        new Thread(
            () -> {
              try {
                while (System.in.read() >= 0) {}
              } catch (java.io.IOException ended) {
                // The same as its end.
              }
              stopping.set(true);
            });
    reader.setDaemon(true);
    reader.start();
    consumer.subscribe(
        Collections.singletonList(args[2]),
        new ConsumerRebalanceListener() {
          @Override
          public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            change(partitions, false);
          }

          @Override
          public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            change(partitions, true);
          }
        });
    while (!stopping.get()) {
      try {
        ConsumerRecords<byte[], byte[]> records = Poll.poll(consumer, 200);
        List<String> lines = new ArrayList<>();
        for (ConsumerRecord<byte[], byte[]> record : records) {
          lines.add(
              "{\"event\":\"record\",\"partition\":" + record.partition()
                  + ",\"offset\":" + record.offset()
                  + ",\"value\":\"" + new String(record.value(), "UTF-8") + "\"}");
        }
        for (String line : lines) {
          print(line);
        }
        if (!records.isEmpty()) {
          consumer.commitSync();
        }
      } catch (KafkaException error) {
        print("{\"event\":\"error\",\"value\":\"" + error.getClass().getSimpleName() + "\"}");
      }
    }
    consumer.close();
  }
}
