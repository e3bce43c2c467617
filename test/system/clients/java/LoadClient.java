import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicIntegerArray;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Writes and reads without end: BOOTSTRAP TOPIC PARTITIONS RATE [RACK] (see ../load-client.ts). */
public final class LoadClient {
  private static final int MOST_OUTSTANDING = 2000;
  private static volatile boolean stopping = false;

  private static synchronized void print(String line) {
    System.out.println(line);
  }

  private static Properties common(String bootstrap) {
    Properties config = new Properties();
    config.put("bootstrap.servers", bootstrap);
    config.put("retry.backoff.ms", "50");
    config.put("retry.backoff.max.ms", "200");
    config.put("reconnect.backoff.ms", "20");
    config.put("reconnect.backoff.max.ms", "200");
    config.put("request.timeout.ms", "5000");
    config.put("socket.connection.setup.timeout.ms", "2000");
    config.put("enable.metrics.push", "false");
    return config;
  }

  /** One producer, with a thread of its own. */
  private static final class Writer implements Runnable {
    private final String name;
    private final String topic;
    private final int partitions;
    private final int rate;
    private final KafkaProducer<String, String> producer;
    private final int[] next;
    private final AtomicIntegerArray outstanding;

    Writer(String[] args, boolean idempotent) {
      name = idempotent ? "java-idempotent" : "java-plain";
      topic = args[1];
      partitions = Integer.parseInt(args[2]);
      rate = Integer.parseInt(args[3]);
      next = new int[partitions];
      outstanding = new AtomicIntegerArray(partitions);
      Properties config = common(args[0]);
      config.put("acks", "all");
      config.put("delivery.timeout.ms", "120000");
      config.put("enable.idempotence", String.valueOf(idempotent));
      if (!idempotent) {
        config.put("max.in.flight.requests.per.connection", "1");
      }
      producer =
          new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
    }

    private void send(int partition) {
      int sequence = next[partition]++;
      long sent = System.currentTimeMillis();
      String value = name + ":" + partition + ":" + sequence;
      String place = name + " " + partition + " " + sequence;
      outstanding.incrementAndGet(partition);
      producer.send(
          new ProducerRecord<>(topic, partition, null, value),
          (stored, error) -> {
            outstanding.decrementAndGet(partition);
            long ended = System.currentTimeMillis();
            if (error == null) {
              long offset = stored.hasOffset() ? stored.offset() : -1;
              print("ok " + place + " " + offset + " " + sent + " " + ended);
            } else {
              String why = String.valueOf(error).replace('\n', ' ');
              print("indeterminate " + place + " " + sent + " " + ended + " " + why);
            }
          });
    }

    @Override
    public void run() {
      long due = System.nanoTime();
      while (!stopping) {
        for (int partition = 0; partition < partitions; partition++) {
          if (outstanding.get(partition) < MOST_OUTSTANDING) {
            send(partition);
          }
        }
        due += TimeUnit.SECONDS.toNanos(1) / rate;
        long rest = TimeUnit.NANOSECONDS.toMillis(due - System.nanoTime());
        if (rest > 0) {
          try {
            Thread.sleep(rest);
          } catch (InterruptedException e) {
            return;
          }
        } else {
          due = System.nanoTime();
        }
      }
      producer.flush();
      for (int partition = 0; partition < partitions; partition++) {
        print("sent " + name + " " + partition + " " + next[partition]);
      }
      producer.close();
    }
  }

  private static void read(String[] args) {
    String name = "java-reader";
    Properties config = common(args[0]);
    config.put("auto.offset.reset", "none");
    config.put("fetch.max.wait.ms", "500");
    if (args.length > 4) {
      config.put("client.rack", args[4]);
    }
    List<TopicPartition> all = new ArrayList<>();
    for (int partition = 0; partition < Integer.parseInt(args[2]); partition++) {
      all.add(new TopicPartition(args[1], partition));
    }
    try (KafkaConsumer<String, String> consumer =
        new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer())) {
      consumer.assign(all);
      Map<TopicPartition, Long> positions = new HashMap<>();
      for (TopicPartition one : all) {
        positions.put(one, 0L);
        consumer.seek(one, 0);
      }
      long nextLook = 0;
      while (true) {
        try {
          ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(200));
          long now = System.currentTimeMillis();
          for (TopicPartition one : records.partitions()) {
            StringBuilder line = new StringBuilder("read " + name + " " + one.partition() + " " + now);
            for (ConsumerRecord<String, String> record : records.records(one)) {
              line.append(' ').append(record.offset()).append(' ').append(record.value());
              positions.put(one, record.offset() + 1);
            }
            print(line.toString());
          }
          if (now >= nextLook) {
            nextLook = now + 500;
            // Only answers of one moment: what comes after a time-out is not compared.
            Map<TopicPartition, Long> ends = consumer.endOffsets(all, Duration.ofMillis(500));
            for (TopicPartition one : all) {
              String place = name + " latest " + one.partition();
              print("watermark " + place + " " + now + " " + ends.get(one));
            }
          }
        } catch (OffsetOutOfRangeException e) {
          // Also of truncation, which is a subclass.
          for (Map.Entry<TopicPartition, Long> one : e.offsetOutOfRangePartitions().entrySet()) {
            String place = name + " " + one.getKey().partition() + " " + System.currentTimeMillis();
            String why = String.valueOf(e).replace('\n', ' ');
            print("refused " + place + " " + one.getValue() + " " + why);
            consumer.seek(one.getKey(), positions.get(one.getKey()));
          }
        } catch (KafkaException e) {
          System.err.println(e);
        }
      }
    }
  }

  public static void main(String[] args) throws Exception {
    Thread reader = new Thread(() -> read(args));
    reader.setDaemon(true);
    reader.start();
    List<Thread> writers = new ArrayList<>();
    for (boolean idempotent : new boolean[] {true, false}) {
      Thread writer = new Thread(new Writer(args, idempotent));
      writer.setDaemon(true);
      writer.start();
      writers.add(writer);
    }
    // The line that asks for the end of the writing.
    if (System.in.read() >= 0) {
      stopping = true;
      for (Thread writer : writers) {
        writer.join();
      }
      print("stopped");
      while (System.in.read() >= 0) {
        // The rest of that line, then the end of the input.
      }
    }
    System.exit(0);
  }
}
