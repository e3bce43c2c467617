"""A member of a group by kafka-python: BOOTSTRAP GROUP TOPIC OPTIONS (see ../member.ts)."""
import logging

from kafka import ConsumerRebalanceListener, KafkaConsumer
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.errors import KafkaError

import member

ASSIGNORS = {'range': RangePartitionAssignor, 'roundrobin': RoundRobinPartitionAssignor}


class Listener(ConsumerRebalanceListener):
    def on_partitions_revoked(self, revoked):
        member.show('assigned', partitions=[])

    def on_partitions_assigned(self, assigned):
        member.show('assigned', partitions=sorted(one.partition for one in assigned))


logging.basicConfig(level=logging.WARNING)
consumer = KafkaConsumer(
    bootstrap_servers=member.bootstrap,
    group_id=member.group,
    auto_offset_reset='earliest',
    enable_auto_commit=False,
    session_timeout_ms=member.options['sessionTimeoutMs'],
    heartbeat_interval_ms=500,
    partition_assignment_strategy=[ASSIGNORS[member.options['assignor']]],
)
consumer.subscribe([member.topic], listener=Listener())
# Waits for the topic's metadata. A leader that joins without them assigns nothing, and joins again
# once they are there; when a poll's time is up after that assignment and before the broker's answer
# to it, kafka-python 3.0.12 forgets the join: no heartbeats, no partitions, for good.
consumer.partitions_for_topic(member.topic)
while not member.stopping.is_set():
    batches = consumer.poll(timeout_ms=200)
    for records in batches.values():
        for one in records:
            member.record(one.partition, one.offset, one.value)
    if batches:
        try:
            consumer.commit()
        except KafkaError as error:
            member.show('error', value=repr(error))
consumer.close(autocommit=False)
