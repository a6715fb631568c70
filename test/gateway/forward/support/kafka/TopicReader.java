import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.utils.Utils;

/**
 * Kafka's own client on a topic, one line of input at a time.
 *
 * Argument: host:port. Input: "create TOPIC PARTITIONS SETTING=VALUE…", which prints "created TOPIC";
 * "read TOPIC NUMBER", which prints "record PARTITION WANTED KEY ID ARRIVAL DATA" for each record,
 * WANTED being where Kafka's own producers put that key, and then "end NUMBER". Ends with its input.
 */
public final class TopicReader {
  public static void main(String[] arguments) throws Exception {
    // Whatever the locale is.
    FileOutputStream output = new FileOutputStream(FileDescriptor.out);
    System.setOut(new PrintStream(output, true, StandardCharsets.UTF_8));
    Properties properties = new Properties();
    properties.put("bootstrap.servers", arguments[0]);
    try (Admin admin = Admin.create(properties)) {
      System.out.println("ready");
      java.util.Scanner input = new java.util.Scanner(System.in);
      while (input.hasNextLine()) {
        String[] words = input.nextLine().split(" ");
        if (words[0].equals("create")) create(admin, words);
        else read(properties, words[1], words[2]);
      }
    }
  }

  private static void create(Admin admin, String[] words) throws Exception {
    Map<String, String> settings = new java.util.HashMap<>();
    for (int at = 3; at < words.length; at += 1) {
      String[] setting = words[at].split("=");
      settings.put(setting[0], setting[1]);
    }
    NewTopic topic = new NewTopic(words[1], Integer.parseInt(words[2]), (short) 1);
    admin.createTopics(List.of(topic.configs(settings))).all().get();
    System.out.println("created " + words[1]);
  }

  private static void read(Properties properties, String topic, String number) {
    ByteArrayDeserializer bytes = new ByteArrayDeserializer();
    try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(properties, bytes, bytes)) {
      List<TopicPartition> partitions =
          consumer.partitionsFor(topic).stream()
              .map(info -> new TopicPartition(topic, info.partition()))
              .toList();
      consumer.assign(partitions);
      consumer.seekToBeginning(partitions);
      Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
      while (partitions.stream().anyMatch(one -> consumer.position(one) < ends.get(one))) {
        for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
          print(record, partitions.size());
        }
      }
    }
    System.out.println("end " + number);
  }

  private static void print(ConsumerRecord<byte[], byte[]> record, int partitions) {
    System.out.println(
        String.join(
            " ",
            "record",
            String.valueOf(record.partition()),
            String.valueOf(Utils.toPositive(Utils.murmur2(record.key())) % partitions),
            text(record.key()),
            text(record.headers().lastHeader("headgate-id").value()),
            text(record.headers().lastHeader("headgate-arrival-ms").value()),
            text(record.value())));
  }

  private static String text(byte[] bytes) {
    return new String(bytes, StandardCharsets.UTF_8);
  }
}
