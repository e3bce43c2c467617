import java.io.ByteArrayInputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Properties;
import java.util.TreeMap;

/**
 * Reads texts (int32 length, UTF-8) from standard input as java.util.Properties and writes for each:
 * int32 count, or -1 where Properties refuses; then keys and values, each int32 length and UTF-8.
 */
public class ReadProperties {
  public static void main(String[] args) throws Exception {
    DataInputStream in = new DataInputStream(System.in);
    DataOutputStream out = new DataOutputStream(System.out);
    for (int left = in.readInt(); left > 0; left--) {
      byte[] text = in.readNBytes(in.readInt());
      Properties properties = new Properties();
      try {
        properties.load(
            new InputStreamReader(new ByteArrayInputStream(text), StandardCharsets.UTF_8));
      } catch (IllegalArgumentException e) {
        out.writeInt(-1);
        continue;
      }
      TreeMap<Object, Object> sorted = new TreeMap<>(properties);
      out.writeInt(sorted.size());
      for (var entry : sorted.entrySet()) {
        write(out, (String) entry.getKey());
        write(out, (String) entry.getValue());
      }
    }
    out.flush();
  }

  private static void write(DataOutputStream out, String text) throws Exception {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    out.writeInt(bytes.length);
    out.write(bytes);
  }
}
