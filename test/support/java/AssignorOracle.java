import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.GroupSubscription;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Subscription;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.common.Cluster;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;

/**
 * Runs Kafka's own assignors. Input lines, separated by tabs: {@code assignor NAME} begins a case;
 * {@code topic NAME RACKS} with the racks of the replicas divided by commas and partitions by
 * semicolons; {@code member ID INSTANCE RACK TOPICS GENERATION OWNED} with "-" for nothing;
 * {@code go} ends it. Output: for each case a line per member, in order, and an empty line.
 */
public final class AssignorOracle {
  public static void main(String[] args) throws IOException {
    BufferedReader in =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    PrintStream out = new PrintStream(System.out, false, "UTF-8");
    String assignor = "";
    List<PartitionInfo> partitions = new ArrayList<>();
    Map<String, Node> nodes = new HashMap<>();
    Map<String, Subscription> members = new HashMap<>();
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      String[] word = line.split("\t", -1);
      switch (word[0]) {
        case "assignor":
          assignor = word[1];
          partitions.clear();
          nodes.clear();
          members.clear();
          break;
        case "topic":
          String[] racks = word[2].split(";", -1);
          for (int p = 0; p < racks.length; p++) {
            Node[] replicas =
                Arrays.stream(racks[p].split(",", -1))
                    .map(rack -> nodes.computeIfAbsent(rack, r -> node(nodes.size(), r)))
                    .toArray(Node[]::new);
            partitions.add(new PartitionInfo(word[1], p, replicas[0], replicas, replicas));
          }
          break;
        case "member":
          members.put(word[1], subscription(word));
          break;
        default:
          Cluster cluster =
              new Cluster("c", new HashSet<>(nodes.values()), partitions, Set.of(), Set.of());
          print(make(assignor).assign(cluster, new GroupSubscription(members)), out);
      }
    }
    out.flush();
  }

  private static Node node(int id, String rack) {
    return new Node(id, "h", 1, rack.equals("-") ? null : rack);
  }

  private static Subscription subscription(String[] word) {
    List<TopicPartition> owned = new ArrayList<>();
    if (!word[6].equals("-")) {
      for (String one : word[6].split(",")) {
        int at = one.lastIndexOf(':');
        owned.add(new TopicPartition(one.substring(0, at), Integer.parseInt(one.substring(at + 1))));
      }
    }
    List<String> topics = word[4].equals("-") ? List.of() : List.of(word[4].split(","));
    Optional<String> rack = word[3].equals("-") ? Optional.empty() : Optional.of(word[3]);
    Subscription subscription =
        new Subscription(topics, null, owned, Integer.parseInt(word[5]), rack);
    if (!word[2].equals("-")) subscription.setGroupInstanceId(Optional.of(word[2]));
    return subscription;
  }

  private static ConsumerPartitionAssignor make(String name) {
    switch (name) {
      case "range":
        return new RangeAssignor();
      case "roundrobin":
        return new RoundRobinAssignor();
      default:
        return new CooperativeStickyAssignor();
    }
  }

  private static void print(ConsumerPartitionAssignor.GroupAssignment result, PrintStream out) {
    new TreeMap<>(result.groupAssignment())
        .forEach(
            (member, assignment) -> {
              TreeMap<String, TreeSet<Integer>> topics = new TreeMap<>();
              for (TopicPartition p : assignment.partitions()) {
                topics.computeIfAbsent(p.topic(), t -> new TreeSet<>()).add(p.partition());
              }
              out.println(member + " " + topics);
            });
    out.println();
  }
}
