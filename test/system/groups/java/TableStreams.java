import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.InvalidStateStoreException;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.processor.StateRestoreListener;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.QueryableStoreTypes;

/**
 * Keeps the topic "table" as a table and counts the values of the topic "words": BOOTSTRAP
 * APPLICATION STATE_DIR SEGMENT_BYTES. It prints a JSON line whenever its state changes or a store
 * was restored, and for each line that it reads one with what it holds of both stores. The end of
 * its standard input ends it.
 */
public final class TableStreams {
  private static synchronized void print(String line) {
    System.out.println(line);
  }

  private static Properties config(String[] args) {
    Properties config = new Properties();
    config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
    config.put(StreamsConfig.APPLICATION_ID_CONFIG, args[1]);
    config.put(StreamsConfig.STATE_DIR_CONFIG, args[2]);
    config.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
    config.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
    // A table's own topic then is the changelog of its store.
    config.put(StreamsConfig.TOPOLOGY_OPTIMIZATION_CONFIG, StreamsConfig.OPTIMIZE);
    // Every update goes to the changelog.
    config.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);
    config.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
    config.put(StreamsConfig.REPARTITION_PURGE_INTERVAL_MS_CONFIG, 200);
    config.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
    config.put(StreamsConfig.consumerPrefix("session.timeout.ms"), 6000);
    config.put(StreamsConfig.consumerPrefix("heartbeat.interval.ms"), 500);
    config.put(StreamsConfig.topicPrefix("segment.bytes"), args[3]);
    config.put(StreamsConfig.topicPrefix("min.cleanable.dirty.ratio"), "0.01");
    return config;
  }

  private static StreamsBuilder topology() {
    StreamsBuilder builder = new StreamsBuilder();
    KTable<String, String> table = builder.table("table", Materialized.as("table-store"));
    KStream<String, String> words = builder.stream("words");
    words
        .groupBy((key, word) -> word)
        .count(Materialized.as("count-store"))
        .toStream()
        .mapValues(String::valueOf)
        .to("counts");
    words
        .groupByKey()
        .windowedBy(TimeWindows.ofSizeWithNoGrace(Duration.ofMinutes(1)))
        .count(Materialized.as("window-store"));
    words.join(table, (word, entry) -> word + "=" + entry).to("joined");
    return builder;
  }

  private static <V> String contents(KafkaStreams streams, String store) {
    Map<String, V> found = new TreeMap<>();
    try (KeyValueIterator<String, V> all =
        streams
            .store(
                StoreQueryParameters.fromNameAndType(
                    store, QueryableStoreTypes.<String, V>keyValueStore()))
            .all()) {
      while (all.hasNext()) {
        KeyValue<String, V> entry = all.next();
        found.put(entry.key, entry.value);
      }
    }
    StringBuilder json = new StringBuilder("{");
    found.forEach(
        (key, value) ->
            json.append(json.length() == 1 ? "" : ",")
                .append("\"" + key + "\":\"" + value + "\""));
    return json.append("}").toString();
  }

  public static void main(String[] args) throws Exception {
    KafkaStreams streams = new KafkaStreams(topology().build(config(args)), config(args));
    streams.setStateListener(
        (now, before) -> print("{\"event\":\"state\",\"state\":\"" + now + "\"}"));
    streams.setUncaughtExceptionHandler(
        error -> {
          error.printStackTrace();
          print("{\"event\":\"state\",\"state\":\"" + error.getClass().getSimpleName() + "\"}");
          return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
    streams.setGlobalStateRestoreListener(
        new StateRestoreListener() {
          @Override
          public void onRestoreStart(TopicPartition partition, String store, long from, long to) {}

          @Override
          public void onBatchRestored(
              TopicPartition partition, String store, long offset, long records) {}

          @Override
          public void onRestoreEnd(TopicPartition partition, String store, long records) {
            print(
                "{\"event\":\"restored\",\"store\":\"" + store
                    + "\",\"topic\":\"" + partition.topic()
                    + "\",\"records\":" + records + "}");
          }
        });
    streams.start();
    BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
    while (commands.readLine() != null) {
      try {
        print(
            "{\"event\":\"stores\",\"table\":" + contents(streams, "table-store")
                + ",\"counts\":" + contents(streams, "count-store") + "}");
      } catch (InvalidStateStoreException notNow) {
        print("{\"event\":\"stores\",\"table\":{},\"counts\":{}}");
      }
    }
    streams.close(Duration.ofSeconds(30));
  }
}
