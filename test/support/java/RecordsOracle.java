import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.function.Supplier;
import java.util.zip.CRC32;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.CompressionType;
import org.apache.kafka.common.record.MemoryRecords;
import org.apache.kafka.common.record.MemoryRecordsBuilder;
import org.apache.kafka.common.record.Record;
import org.apache.kafka.common.record.RecordBatch;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.utils.BufferSupplier;
import org.apache.kafka.common.utils.PrimitiveRef;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.server.common.MetadataVersion;
import org.apache.kafka.storage.internals.log.AppendOrigin;
import org.apache.kafka.storage.internals.log.LogValidator;
import org.apache.kafka.storage.internals.log.RecordValidationException;

/**
 * What Apache Kafka's own classes make of records. Takes questions one after the other, a letter
 * and its arguments, and answers each with bytes behind their length as int32.
 *
 * <pre>
 *   B  build a record set:                  magic, codec, append time, base offset, records
 *   R  read a record set:                   set
 *   D  convert a record set down:           magic, first offset, set
 *   V  validate and convert a produced set: codec, compacted, append time, now, before, after, set
 * </pre>
 */
public final class RecordsOracle {
  public static void main(String[] args) throws IOException {
    DataInputStream in = new DataInputStream(new BufferedInputStream(System.in, 1 << 16));
    DataOutputStream out = new DataOutputStream(new BufferedOutputStream(System.out, 1 << 16));
    for (int question = in.read(); question >= 0; question = in.read()) {
      byte[] answer =
          switch (question) {
            case 'B' -> build(in);
            case 'R' -> read(in);
            case 'D' -> down(in);
            case 'V' -> validate(in);
            default -> throw new IOException("no such question: " + question);
          };
      out.writeInt(answer.length);
      out.write(answer);
    }
    out.flush();
  }

  private static byte[] bytes(DataInputStream in) throws IOException {
    int length = in.readInt();
    return length < 0 ? null : in.readNBytes(length);
  }

  private static MemoryRecords set(DataInputStream in) throws IOException {
    return MemoryRecords.readableRecords(ByteBuffer.wrap(bytes(in)));
  }

  private static byte[] bytesOf(MemoryRecords records) {
    ByteBuffer buffer = records.buffer();
    byte[] bytes = new byte[buffer.remaining()];
    buffer.get(bytes);
    return bytes;
  }

  private static byte[] build(DataInputStream in) throws IOException {
    byte magic = in.readByte();
    CompressionType codec = CompressionType.forId(in.readByte());
    long appendTime = in.readLong();
    long baseOffset = in.readLong();
    TimestampType type =
        appendTime >= 0 ? TimestampType.LOG_APPEND_TIME : TimestampType.CREATE_TIME;
    MemoryRecordsBuilder builder =
        MemoryRecords.builder(
            ByteBuffer.allocate(1024),
            magic,
            Compression.of(codec).build(),
            type,
            baseOffset,
            appendTime);
    for (int count = in.readInt(); count > 0; count -= 1) {
      long timestamp = in.readLong();
      builder.append(timestamp, bytes(in), bytes(in));
    }
    return bytesOf(builder.build());
  }

  private static byte[] read(DataInputStream in) throws IOException {
    MemoryRecords records = set(in);
    return text(() -> dump(records));
  }

  private static byte[] down(DataInputStream in) throws IOException {
    byte magic = in.readByte();
    long firstOffset = in.readLong();
    MemoryRecords records = set(in);
    return text(() -> dump(records.downConvert(magic, firstOffset, Time.SYSTEM).records()));
  }

  private static byte[] validate(DataInputStream in) throws IOException {
    byte codec = in.readByte();
    boolean compacted = in.readBoolean();
    boolean appendTime = in.readBoolean();
    Clock clock = new Clock(in.readLong());
    long before = in.readLong();
    long after = in.readLong();
    MemoryRecords records = set(in);
    return text(
        () -> {
          CompressionType source = CompressionType.NONE;
          for (RecordBatch batch : records.batches()) {
            batch.ensureValid();
            if (batch.compressionType() != CompressionType.NONE) source = batch.compressionType();
          }
          CompressionType target = codec < 0 ? source : CompressionType.forId(codec);
          LogValidator validator =
              new LogValidator(
                  records,
                  new TopicPartition("topic", 0),
                  clock,
                  source,
                  Compression.of(target).build(),
                  compacted,
                  RecordBatch.MAGIC_VALUE_V2,
                  appendTime ? TimestampType.LOG_APPEND_TIME : TimestampType.CREATE_TIME,
                  before,
                  after,
                  0,
                  AppendOrigin.CLIENT,
                  MetadataVersion.latestProduction());
          return dump(
              validator.validateMessagesAndAssignOffsets(
                      PrimitiveRef.ofLong(0), new Metrics(), BufferSupplier.NO_CACHING)
                  .validatedRecords);
        });
  }

  /** A dump, or "error" and the code that the error has on the wire. */
  private static byte[] text(Supplier<String> work) {
    String text;
    try {
      text = work.get();
    } catch (RecordValidationException error) {
      text = "error " + Errors.forException(error.invalidException()).code();
    } catch (RuntimeException error) {
      text = "error " + Errors.forException(error).code();
    }
    return text.getBytes(StandardCharsets.UTF_8);
  }

  private static String dump(MemoryRecords records) {
    StringBuilder lines = new StringBuilder();
    for (RecordBatch batch : records.batches()) {
      batch.ensureValid();
      lines.append("batch ").append(batch.magic());
      lines.append(' ').append(batch.compressionType().id);
      lines.append(' ').append(batch.timestampType() == TimestampType.LOG_APPEND_TIME);
      lines.append(' ').append(batch.maxTimestamp());
      lines.append(' ').append(batch.lastOffset()).append('\n');
      for (Record record : batch) {
        record.ensureValid();
        lines.append("record ").append(record.offset());
        lines.append(' ').append(record.timestamp());
        lines.append(' ').append(hex(record.key()));
        lines.append(' ').append(hex(record.value())).append('\n');
      }
    }
    return lines.toString();
  }

  /** Long values by their length and CRC-32, so that differences stay readable. */
  private static String hex(ByteBuffer buffer) {
    if (buffer == null) return "null";
    byte[] bytes = new byte[buffer.remaining()];
    buffer.duplicate().get(bytes);
    if (bytes.length <= 16) return "x" + HexFormat.of().formatHex(bytes);
    CRC32 crc = new CRC32();
    crc.update(bytes);
    return bytes.length + "#" + crc.getValue();
  }

  /** A clock that stands still. */
  private record Clock(long now) implements Time {
    @Override
    public long milliseconds() {
      return now;
    }

    @Override
    public long nanoseconds() {
      return now * 1_000_000;
    }

    @Override
    public void sleep(long ms) {
      throw new UnsupportedOperationException("the clock stands still");
    }

    @Override
    public void waitObject(Object lock, Supplier<Boolean> condition, long deadlineMs) {
      throw new UnsupportedOperationException("the clock stands still");
    }
  }

  private static final class Metrics implements LogValidator.MetricsRecorder {
    @Override
    public void recordInvalidMagic() {}

    @Override
    public void recordInvalidOffset() {}

    @Override
    public void recordInvalidSequence() {}

    @Override
    public void recordInvalidChecksums() {}

    @Override
    public void recordNoKeyCompactedTopic() {}
  }
}
