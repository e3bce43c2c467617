import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.HexFormat;
import org.apache.kafka.common.utils.Utils;

/** For each line of hexadecimal bytes prints the hash that Apache Kafka places keys with. */
public final class Murmur2Oracle {
  public static void main(String[] args) throws Exception {
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
    StringBuilder hashes = new StringBuilder();
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      hashes.append(Utils.murmur2(HexFormat.of().parseHex(line))).append('\n');
    }
    System.out.print(hashes);
  }
}
