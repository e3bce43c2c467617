import java.util.TreeMap;
import kafka.server.KafkaConfig;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.common.config.ConfigDef.ConfigKey;
import org.apache.kafka.storage.internals.log.LogConfig;

/** Prints Apache Kafka's own keys: scope, name, type, importance, whether there is a default, the default. */
public class ConfigTable {
  public static void main(String[] args) {
    print("broker", KafkaConfig.configDef());
    print("topic", LogConfig.configDefCopy());
  }

  private static void print(String scope, ConfigDef definition) {
    for (ConfigKey key : new TreeMap<>(definition.configKeys()).values()) {
      String value = ConfigDef.convertToString(key.hasDefault() ? key.defaultValue : null, key.type);
      System.out.println(
          String.join(
              "\t",
              scope,
              key.name,
              key.type.name().toLowerCase(),
              key.importance.name().toLowerCase(),
              value == null ? "no default" : "default",
              value == null ? "" : value));
    }
  }
}
