import java.net.URI;
import java.nio.charset.StandardCharsets;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.awscore.client.builder.AwsClientBuilder;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.cloudwatch.CloudWatchAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.kinesis.common.ConfigsBuilder;
import software.amazon.kinesis.common.InitialPositionInStream;
import software.amazon.kinesis.common.InitialPositionInStreamExtended;
import software.amazon.kinesis.coordinator.Scheduler;
import software.amazon.kinesis.exceptions.InvalidStateException;
import software.amazon.kinesis.exceptions.ShutdownException;
import software.amazon.kinesis.lifecycle.events.InitializationInput;
import software.amazon.kinesis.lifecycle.events.LeaseLostInput;
import software.amazon.kinesis.lifecycle.events.ProcessRecordsInput;
import software.amazon.kinesis.lifecycle.events.ShardEndedInput;
import software.amazon.kinesis.lifecycle.events.ShutdownRequestedInput;
import software.amazon.kinesis.metrics.NullMetricsFactory;
import software.amazon.kinesis.processor.ShardRecordProcessor;
import software.amazon.kinesis.processor.SingleStreamTracker;
import software.amazon.kinesis.retrieval.KinesisClientRecord;
import software.amazon.kinesis.retrieval.polling.PollingConfig;

/**
 * The Kinesis Client Library as an application of a stream: prints what it is given, one line each,
 * and checkpoints it. Only the endpoints say that it is not AWS.
 *
 * Arguments: Kinesis endpoint, DynamoDB endpoint, stream, application, "polling" or "fan-out".
 * Credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
 *
 * Prints "record SHARD KEY SUBSEQUENCE DATA", and "ended SHARD" for a shard read to its end. Ends
 * when its input does.
 */
public final class KclReader {
  public static void main(String[] arguments) throws Exception {
    String stream = arguments[2];
    KinesisAsyncClient kinesis = at(KinesisAsyncClient.builder(), arguments[0]).build();
    DynamoDbAsyncClient leases = at(DynamoDbAsyncClient.builder(), arguments[1]).build();
    // It is asked for, and not used: there are no metrics.
    CloudWatchAsyncClient metrics = at(CloudWatchAsyncClient.builder(), arguments[1]).build();
    InitialPositionInStreamExtended horizon =
        InitialPositionInStreamExtended.newInitialPosition(InitialPositionInStream.TRIM_HORIZON);
    ConfigsBuilder configs =
        new ConfigsBuilder(
            new SingleStreamTracker(stream, horizon),
            arguments[3],
            kinesis,
            leases,
            metrics,
            "worker",
            Reader::new);
    var retrieval = configs.retrievalConfig();
    if (arguments[4].equals("polling")) {
      retrieval.retrievalSpecificConfig(new PollingConfig(stream, kinesis));
    }
    Scheduler scheduler =
        new Scheduler(
            configs.checkpointConfig(),
            configs.coordinatorConfig().parentShardPollIntervalMillis(500).shardConsumerDispatchPollIntervalMillis(100),
            configs.leaseManagementConfig().shardSyncIntervalMillis(1000).failoverTimeMillis(2000),
            configs.lifecycleConfig(),
            configs.metricsConfig().metricsFactory(new NullMetricsFactory()),
            configs.processorConfig(),
            retrieval);
    Thread worker = new Thread(scheduler);
    worker.setDaemon(true);
    worker.start();
    while (System.in.read() != -1) continue;
    scheduler.startGracefulShutdown().get();
    System.exit(0);
  }

  private static <B extends AwsClientBuilder<B, C>, C> B at(B builder, String endpoint) {
    AwsBasicCredentials credentials =
        AwsBasicCredentials.create(
            System.getenv("AWS_ACCESS_KEY_ID"), System.getenv("AWS_SECRET_ACCESS_KEY"));
    return builder
        .endpointOverride(URI.create(endpoint))
        .region(Region.US_EAST_1)
        .credentialsProvider(StaticCredentialsProvider.create(credentials));
  }

  private static synchronized void print(String line) {
    System.out.println(line);
    System.out.flush();
  }

  private static final class Reader implements ShardRecordProcessor {
    private String shard;

    @Override
    public void initialize(InitializationInput input) {
      shard = input.shardId();
    }

    @Override
    public void processRecords(ProcessRecordsInput input) {
      for (KinesisClientRecord record : input.records()) {
        String data = StandardCharsets.UTF_8.decode(record.data()).toString();
        print(
            String.join(
                " ",
                "record",
                shard,
                record.partitionKey(),
                String.valueOf(record.subSequenceNumber()),
                data));
      }
      try {
        input.checkpointer().checkpoint();
      } catch (InvalidStateException | ShutdownException lost) {
        print("lost " + shard);
      }
    }

    @Override
    public void leaseLost(LeaseLostInput input) {
      print("lost " + shard);
    }

    @Override
    public void shardEnded(ShardEndedInput input) {
      try {
        input.checkpointer().checkpoint();
        print("ended " + shard);
      } catch (InvalidStateException | ShutdownException lost) {
        print("lost " + shard);
      }
    }

    @Override
    public void shutdownRequested(ShutdownRequestedInput input) {
      try {
        input.checkpointer().checkpoint();
      } catch (InvalidStateException | ShutdownException lost) {
        print("lost " + shard);
      }
    }
  }
}
