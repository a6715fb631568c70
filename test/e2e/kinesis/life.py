"""The life of a stream as a program with boto3 lives it.

Debian 12's boto3 is older than StreamARN in most calls, so the stream goes by its name. Only the
endpoint, in ENDPOINT, says that it is not AWS.
"""

import datetime
import os
import time

import boto3

k = boto3.client("kinesis", endpoint_url=os.environ["ENDPOINT"])
NAME = "readings"
POLL_SECONDS = 0.02


def summary():
    return k.describe_stream_summary(StreamName=NAME)["StreamDescriptionSummary"]


def settled():
    while summary()["StreamStatus"] != "ACTIVE":
        time.sleep(POLL_SECONDS)
    return summary()


def read(kind, **start):
    iterator = k.get_shard_iterator(
        StreamName=NAME, ShardId=shard, ShardIteratorType=kind, **start
    )
    return k.get_records(ShardIterator=iterator["ShardIterator"])


def texts(answer):
    return [record["Data"].decode() for record in answer["Records"]]


# Create.
k.create_stream(StreamName=NAME, ShardCount=1)
# CREATING is shown for a moment, which a slow client misses.
assert summary()["StreamStatus"] in ("CREATING", "ACTIVE")
settled()
arn = k.describe_stream(StreamName=NAME)["StreamDescription"]["StreamARN"]
assert k.list_streams()["StreamNames"] == [NAME]

# Put, and read by all five types of iterators.
first = k.put_record(StreamName=NAME, Data=b"first", PartitionKey="k")
shard, number = first["ShardId"], first["SequenceNumber"]
others = [{"Data": text, "PartitionKey": "ü"} for text in (b"second", b"third")]
assert k.put_records(StreamName=NAME, Records=others)["FailedRecordCount"] == 0
everything = ["first", "second", "third"]
assert texts(read("TRIM_HORIZON")) == everything
assert texts(read("LATEST")) == []
assert texts(read("AT_SEQUENCE_NUMBER", StartingSequenceNumber=number)) == everything
assert texts(read("AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=number)) == everything[1:]
then = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=1)
back = read("AT_TIMESTAMP", Timestamp=then)
assert texts(back) == everything
assert back["Records"][0]["ApproximateArrivalTimestamp"] > then

# Tag.
k.add_tags_to_stream(StreamName=NAME, Tags={"site": "north", "unit": "7"})
k.remove_tags_from_stream(StreamName=NAME, TagKeys=["unit"])
assert k.list_tags_for_stream(StreamName=NAME)["Tags"] == [{"Key": "site", "Value": "north"}]

# Retention.
k.increase_stream_retention_period(StreamName=NAME, RetentionPeriodHours=48)
assert settled()["RetentionPeriodHours"] == 48
k.decrease_stream_retention_period(StreamName=NAME, RetentionPeriodHours=24)
assert settled()["RetentionPeriodHours"] == 24

# Encrypt.
key = {"StreamName": NAME, "EncryptionType": "KMS", "KeyId": "alias/aws/kinesis"}
k.start_stream_encryption(**key)
assert settled()["EncryptionType"] == "KMS"
sealed = k.put_record(StreamName=NAME, Data=b"sealed", PartitionKey="k")
assert sealed["EncryptionType"] == "KMS"
record = read("AT_SEQUENCE_NUMBER", StartingSequenceNumber=sealed["SequenceNumber"])["Records"][0]
assert record["Data"] == b"sealed" and record["EncryptionType"] == "KMS"
k.stop_stream_encryption(**key)
assert settled()["EncryptionType"] == "NONE"
stored = [*everything, "sealed"]

# Register a consumer and subscribe: what is there, what comes, and the end of a shard.
consumer = k.register_stream_consumer(StreamARN=arn, ConsumerName="alarms")["Consumer"]["ConsumerARN"]
while True:
    described = k.describe_stream_consumer(ConsumerARN=consumer)["ConsumerDescription"]
    if described["ConsumerStatus"] == "ACTIVE":
        break
    time.sleep(POLL_SECONDS)
subscription = k.subscribe_to_shard(
    ConsumerARN=consumer, ShardId=shard, StartingPosition={"Type": "TRIM_HORIZON"}
)
pushed, children, asked = [], [], 0
for each in subscription["EventStream"]:
    event = each["SubscribeToShardEvent"]
    pushed += texts(event)
    if pushed == stored and asked == 0:
        asked = 1
        k.put_record(StreamName=NAME, Data=b"pushed", PartitionKey="k")
    if pushed[-1:] == ["pushed"] and asked == 1:
        asked = 2
        k.split_shard(StreamName=NAME, ShardToSplit=shard, NewStartingHashKey=str(2**127))
    children = [child["ShardId"] for child in event.get("ChildShards", [])]
assert pushed == [*stored, "pushed"], pushed
assert len(children) == 2

# It was split: GetRecords tells the same. Merge, update the shard count.
settled()
end = read("LATEST")
assert end.get("NextShardIterator") is None
assert [child["ShardId"] for child in end["ChildShards"]] == children
k.merge_shards(StreamName=NAME, ShardToMerge=children[0], AdjacentShardToMerge=children[1])
assert settled()["OpenShardCount"] == 1
k.update_shard_count(StreamName=NAME, TargetShardCount=2, ScalingType="UNIFORM_SCALING")
assert settled()["OpenShardCount"] == 2
page = k.list_shards(StreamName=NAME, MaxResults=4)
shards = page["Shards"] + k.list_shards(NextToken=page["NextToken"])["Shards"]
assert len(shards) == 6

# An error is the service's own.
try:
    k.get_records(ShardIterator="forged")
    raise AssertionError("a forged iterator was taken")
except k.exceptions.InvalidArgumentException as error:
    assert error.response["Error"]["Message"] == "Invalid ShardIterator."

# Delete.
k.deregister_stream_consumer(ConsumerARN=consumer)
k.delete_stream(StreamName=NAME)
try:
    while True:
        assert summary()["StreamStatus"] == "DELETING"
        time.sleep(POLL_SECONDS)
except k.exceptions.ResourceNotFoundException:
    print("lived")
