import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.ObjectSerializationCache;

/**
 * Decodes message bodies with Kafka's generated classes and writes what these encode again.
 *
 * <p>In, until the end: api key int16, version int16, response boolean, length int32, body. Out, for
 * each: ok boolean, length int32, then the body or what went wrong. All big-endian.
 */
public final class MessageRoundTrip {
  public static void main(String[] args) throws IOException {
    DataInputStream in = new DataInputStream(new BufferedInputStream(System.in, 1 << 16));
    DataOutputStream out = new DataOutputStream(new BufferedOutputStream(System.out, 1 << 16));
    while (true) {
      short apiKey;
      try {
        apiKey = in.readShort();
      } catch (EOFException end) {
        break;
      }
      short version = in.readShort();
      boolean isResponse = in.readBoolean();
      byte[] body = new byte[in.readInt()];
      in.readFully(body);
      boolean ok;
      byte[] answer;
      try {
        answer = roundTrip(apiKey, version, isResponse, body);
        ok = true;
      } catch (RuntimeException error) {
        answer = error.toString().getBytes(StandardCharsets.UTF_8);
        ok = false;
      }
      out.writeBoolean(ok);
      out.writeInt(answer.length);
      out.write(answer);
    }
    out.flush();
  }

  private static byte[] roundTrip(short apiKey, short version, boolean isResponse, byte[] body) {
    ApiMessageType type = ApiMessageType.fromApiKey(apiKey);
    ApiMessage message = isResponse ? type.newResponse() : type.newRequest();
    ByteBuffer source = ByteBuffer.wrap(body);
    message.read(new ByteBufferAccessor(source), version);
    if (source.hasRemaining()) {
      throw new IllegalArgumentException(source.remaining() + " bytes left");
    }
    ObjectSerializationCache cache = new ObjectSerializationCache();
    ByteBuffer target = ByteBuffer.allocate(message.size(cache, version));
    message.write(new ByteBufferAccessor(target), cache, version);
    return target.array();
  }
}
