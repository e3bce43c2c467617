import java.io.BufferedInputStream;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.util.HexFormat;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.record.MemoryRecords;
import org.apache.kafka.common.record.Record;
import org.apache.kafka.common.record.RecordBatch;

/**
 * Reads record sets of any format with Kafka's own classes, each behind its length as int32, and
 * prints a line for each batch and record, and an empty one behind each set.
 */
public final class RecordDump {
  public static void main(String[] args) throws IOException {
    DataInputStream in = new DataInputStream(new BufferedInputStream(System.in, 1 << 16));
    PrintStream out = new PrintStream(System.out, false, "UTF-8");
    while (true) {
      byte[] set;
      try {
        set = new byte[in.readInt()];
      } catch (EOFException end) {
        break;
      }
      in.readFully(set);
      dump(MemoryRecords.readableRecords(ByteBuffer.wrap(set)), out);
      out.println();
    }
    out.flush();
  }

  private static void dump(MemoryRecords records, PrintStream out) {
    for (RecordBatch batch : records.batches()) {
      batch.ensureValid();
      out.printf(
          "batch %d %d %d %d %d %b %b%n",
          batch.magic(),
          batch.lastOffset(),
          batch.producerId(),
          batch.producerEpoch(),
          batch.baseSequence(),
          batch.isTransactional(),
          batch.isControlBatch());
      for (Record record : batch) {
        StringBuilder line = new StringBuilder();
        line.append("record ").append(record.offset()).append(' ').append(record.timestamp());
        line.append(' ').append(hex(record.key())).append(' ').append(hex(record.value()));
        for (Header header : record.headers()) {
          byte[] key = header.key().getBytes(java.nio.charset.StandardCharsets.UTF_8);
          line.append(' ').append(hex(ByteBuffer.wrap(key))).append('=');
          line.append(hex(header.value() == null ? null : ByteBuffer.wrap(header.value())));
        }
        out.println(line);
      }
    }
  }

  private static String hex(ByteBuffer bytes) {
    if (bytes == null) {
      return "null";
    }
    byte[] copy = new byte[bytes.remaining()];
    bytes.duplicate().get(copy);
    return "'" + HexFormat.of().formatHex(copy);
  }
}
