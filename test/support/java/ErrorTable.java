import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.protocol.Errors;

/** Prints Kafka's error codes, one a line: code, name, whether clients try again. */
public final class ErrorTable {
  public static void main(String[] args) {
    for (Errors error : Errors.values()) {
      boolean retriable = error.exception() instanceof RetriableException;
      System.out.println(error.code() + " " + error.name() + " " + retriable);
    }
  }
}
