import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import kafka.api.FetchRequestBuilder;
import kafka.api.PartitionOffsetRequestInfo;
import kafka.common.ErrorMapping;
import kafka.common.TopicAndPartition;
import kafka.javaapi.FetchResponse;
import kafka.javaapi.OffsetRequest;
import kafka.javaapi.OffsetResponse;
import kafka.javaapi.consumer.SimpleConsumer;
import kafka.javaapi.producer.Producer;
import kafka.message.MessageAndOffset;
import kafka.producer.KeyedMessage;
import kafka.producer.ProducerConfig;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Drives the clients of 0.8.2: LegacyClient BOOTSTRAP old|new. `old` produces with the Scala
 * producer, `new` with the Java producer that replaced it; both read with the SimpleConsumer.
 */
public final class LegacyClient {
  private static final int PATIENCE_MS = 30_000;
  private static final int LARGEST_CALL = 1_000_000;
  private static final int FETCH_SIZE = 2 << 20;
  private static final String CLIENT_ID = "legacy";
  private final String bootstrap;
  private final boolean oldProducer;

  private LegacyClient(String bootstrap, boolean oldProducer) {
    this.bootstrap = bootstrap;
    this.oldProducer = oldProducer;
  }

  public static void main(String[] args) throws Exception {
    Lines.serve(new LegacyClient(args[0], args[1].equals("old"))::handle);
  }

  private Map<String, Object> handle(Map<String, Object> request) throws Exception {
    String op = (String) request.get("op");
    switch (op) {
      case "produce":
        return oldProducer ? produceOld(request) : produceNew(request);
      case "read":
        return read(request);
      case "offsetForTime":
        return offsetForTime(request);
      default:
        throw new IllegalArgumentException("no op " + op);
    }
  }

  private Map<String, Object> produceOld(Map<String, Object> request) {
    Properties config = new Properties();
    config.put("metadata.broker.list", bootstrap);
    config.put("serializer.class", "kafka.serializer.DefaultEncoder");
    config.put("request.required.acks", request.get("acks").toString());
    config.put("compression.codec", request.get("codec"));
    config.put("producer.type", "sync");
    String topic = (String) request.get("topic");
    Producer<byte[], byte[]> producer = new Producer<>(new ProducerConfig(config));
    try {
      // A call becomes one message set, in one wrapper when it is compressed.
      List<KeyedMessage<byte[], byte[]>> call = new ArrayList<>();
      int size = 0;
      for (Object element : Lines.array(request.get("records"))) {
        Map<String, Object> record = Lines.object(element);
        byte[] value = Lines.bytes(record.get("value"));
        int more = value == null ? 0 : value.length;
        if (!call.isEmpty() && size + more > LARGEST_CALL) {
          producer.send(call);
          call = new ArrayList<>();
          size = 0;
        }
        call.add(new KeyedMessage<>(topic, Lines.bytes(record.get("key")), value));
        size += more;
      }
      producer.send(call);
    } finally {
      producer.close();
    }
    return Collections.emptyMap();
  }

  private Map<String, Object> produceNew(Map<String, Object> request) throws Exception {
    Map<String, Object> config = new HashMap<>();
    config.put("bootstrap.servers", bootstrap);
    config.put("acks", request.get("acks").toString());
    config.put("compression.type", request.get("codec"));
    String topic = (String) request.get("topic");
    int partition = Lines.integer(request.get("partition"));
    List<Object> offsets = new ArrayList<>();
    KafkaProducer<byte[], byte[]> producer =
        new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
    try {
      List<Future<RecordMetadata>> sent = new ArrayList<>();
      for (Object element : Lines.array(request.get("records"))) {
        Map<String, Object> record = Lines.object(element);
        byte[] key = Lines.bytes(record.get("key"));
        byte[] value = Lines.bytes(record.get("value"));
        sent.add(producer.send(new ProducerRecord<>(topic, partition, key, value)));
      }
      for (Future<RecordMetadata> future : sent) {
        offsets.add(future.get(PATIENCE_MS, TimeUnit.MILLISECONDS).offset());
      }
    } finally {
      producer.close();
    }
    return Lines.answer("offsets", offsets);
  }

  private SimpleConsumer consumer() {
    String[] address = bootstrap.split(":");
    int port = Integer.parseInt(address[1]);
    return new SimpleConsumer(address[0], port, PATIENCE_MS, 1 << 16, CLIENT_ID);
  }

  private Map<String, Object> read(Map<String, Object> request) {
    String topic = (String) request.get("topic");
    int partition = Lines.integer(request.get("partition"));
    int count = Lines.integer(request.get("count"));
    long next = Lines.longInteger(request.get("offset"));
    List<Object> records = new ArrayList<>();
    long deadline = System.nanoTime() + PATIENCE_MS * 1_000_000L;
    SimpleConsumer consumer = consumer();
    try {
      while (records.size() < count) {
        if (System.nanoTime() > deadline) {
          throw new IllegalStateException(records.size() + " of " + count + " records");
        }
        FetchRequestBuilder builder = new FetchRequestBuilder().clientId(CLIENT_ID).maxWait(500);
        builder.minBytes(1).addFetch(topic, partition, next, FETCH_SIZE);
        FetchResponse response = consumer.fetch(builder.build());
        check(response.errorCode(topic, partition));
        for (MessageAndOffset message : response.messageSet(topic, partition)) {
          // A compressed set starts at its first message, wherever the fetch began.
          if (message.offset() < next || records.size() == count) continue;
          next = message.nextOffset();
          byte[] key = bytes(message.message().key());
          byte[] value = bytes(message.message().payload());
          records.add(Lines.record(message.offset(), -1, key, value, Collections.emptyList()));
        }
      }
    } finally {
      consumer.close();
    }
    return Lines.answer("records", records);
  }

  /** 0.8 knows -2 (earliest), -1 (latest) and, for other times, the starts of segments. */
  private Map<String, Object> offsetForTime(Map<String, Object> request) {
    String topic = (String) request.get("topic");
    int partition = Lines.integer(request.get("partition"));
    PartitionOffsetRequestInfo wanted =
        new PartitionOffsetRequestInfo(Lines.longInteger(request.get("timestamp")), 1);
    SimpleConsumer consumer = consumer();
    try {
      OffsetResponse response =
          consumer.getOffsetsBefore(
              new OffsetRequest(
                  Collections.singletonMap(new TopicAndPartition(topic, partition), wanted),
                  kafka.api.OffsetRequest.CurrentVersion(),
                  CLIENT_ID));
      check(response.errorCode(topic, partition));
      long[] offsets = response.offsets(topic, partition);
      return Lines.answer("offset", offsets.length == 0 ? -1L : offsets[0]);
    } finally {
      consumer.close();
    }
  }

  private static void check(short code) {
    if (code == ErrorMapping.NoError()) return;
    throw new IllegalStateException("error " + code + " " + ErrorMapping.exceptionFor(code));
  }

  private static byte[] bytes(ByteBuffer buffer) {
    if (buffer == null) return null;
    byte[] bytes = new byte[buffer.remaining()];
    buffer.get(bytes);
    return bytes;
  }
}
