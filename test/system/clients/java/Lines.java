import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Driver side of the test protocol (see ../scenario.ts): one JSON request a line on standard input,
 * one JSON answer a line on standard output. The small JSON reader is ours because the old clients'
 * jars bring none.
 */
final class Lines {
  interface Handler {
    Map<String, Object> handle(Map<String, Object> request) throws Exception;
  }

  private Lines() {}

  static void serve(Handler handler) throws IOException {
    BufferedReader in =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8), 1 << 20);
    PrintStream out = System.out;
    // Whatever a library prints must not get between the answers.
    System.setOut(System.err);
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      Map<String, Object> answer;
      try {
        answer = handler.handle(object(new Parser(line).value()));
      } catch (Exception error) {
        error.printStackTrace();
        answer = new LinkedHashMap<>();
        answer.put("error", error.toString());
      }
      StringWriter text = new StringWriter();
      write(text, answer);
      out.println(text);
      out.flush();
    }
  }

  @SuppressWarnings("unchecked")
  static Map<String, Object> object(Object value) {
    return (Map<String, Object>) value;
  }

  @SuppressWarnings("unchecked")
  static List<Object> array(Object value) {
    return (List<Object>) value;
  }

  static int integer(Object value) {
    return ((Number) value).intValue();
  }

  static long longInteger(Object value) {
    return ((Number) value).longValue();
  }

  static byte[] bytes(Object base64) {
    return base64 == null ? null : Base64.getDecoder().decode((String) base64);
  }

  static String text(byte[] bytes) {
    return bytes == null ? null : Base64.getEncoder().encodeToString(bytes);
  }

  static Map<String, Object> record(
      long offset, long timestamp, byte[] key, byte[] value, List<Object> headers) {
    Map<String, Object> record = new LinkedHashMap<>();
    record.put("offset", offset);
    record.put("timestamp", timestamp);
    record.put("key", text(key));
    record.put("value", text(value));
    record.put("headers", headers);
    return record;
  }

  static Map<String, Object> answer(String name, Object value) {
    Map<String, Object> answer = new LinkedHashMap<>();
    answer.put(name, value);
    return answer;
  }

  private static void write(StringWriter out, Object value) {
    if (value instanceof Map) {
      String separator = "{";
      for (Map.Entry<String, Object> entry : object(value).entrySet()) {
        out.append(separator);
        write(out, entry.getKey());
        out.append(':');
        write(out, entry.getValue());
        separator = ",";
      }
      out.append(separator.equals("{") ? "{}" : "}");
    } else if (value instanceof List) {
      String separator = "[";
      for (Object element : array(value)) {
        out.append(separator);
        write(out, element);
        separator = ",";
      }
      out.append(separator.equals("[") ? "[]" : "]");
    } else if (value instanceof String) {
      writeString(out, (String) value);
    } else {
      out.append(String.valueOf(value));
    }
  }

  private static void writeString(StringWriter out, String value) {
    out.append('"');
    for (int i = 0; i < value.length(); i++) {
      char c = value.charAt(i);
      if (c == '"' || c == '\\') {
        out.append('\\').append(c);
      } else if (c < ' ') {
        out.append(String.format("\\u%04x", (int) c));
      } else {
        out.append(c);
      }
    }
    out.append('"');
  }

  private static final class Parser {
    private final String text;
    private int at;

    Parser(String text) {
      this.text = text;
    }

    Object value() {
      skipSpace();
      char c = text.charAt(at);
      if (c == '{') return map();
      if (c == '[') return list();
      if (c == '"') return string();
      int end = at;
      while (end < text.length() && ",]} ".indexOf(text.charAt(end)) < 0) end++;
      String word = text.substring(at, end);
      at = end;
      if (word.equals("null")) return null;
      if (word.equals("true") || word.equals("false")) return Boolean.valueOf(word);
      return Long.valueOf(word);
    }

    private Map<String, Object> map() {
      Map<String, Object> map = new LinkedHashMap<>();
      at++;
      while (!ends('}')) {
        skipSpace();
        String name = string();
        skipSpace();
        at++;
        map.put(name, value());
      }
      return map;
    }

    private List<Object> list() {
      List<Object> list = new ArrayList<>();
      at++;
      while (!ends(']')) list.add(value());
      return list;
    }

    /** Steps over a comma, or over the closing bracket, and tells which it was. */
    private boolean ends(char closing) {
      skipSpace();
      char c = text.charAt(at);
      if (c == closing || c == ',') at++;
      return c == closing;
    }

    private String string() {
      int end = ++at;
      StringBuilder built = null;
      while (text.charAt(end) != '"') {
        if (text.charAt(end) == '\\') {
          if (built == null) built = new StringBuilder();
          built.append(text, at, end);
          char escaped = text.charAt(end + 1);
          if (escaped == 'u') {
            built.append((char) Integer.parseInt(text.substring(end + 2, end + 6), 16));
            end += 6;
          } else {
            built.append(unescape(escaped));
            end += 2;
          }
          at = end;
        } else {
          end++;
        }
      }
      String rest = text.substring(at, end);
      at = end + 1;
      return built == null ? rest : built.append(rest).toString();
    }

    private static char unescape(char escaped) {
      switch (escaped) {
        case 'n':
          return '\n';
        case 't':
          return '\t';
        case 'r':
          return '\r';
        case 'b':
          return '\b';
        case 'f':
          return '\f';
        default:
          return escaped;
      }
    }

    private void skipSpace() {
      while (text.charAt(at) == ' ') at++;
    }
  }
}
