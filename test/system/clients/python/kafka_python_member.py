"""A member of a group by kafka-python: BOOTSTRAP GROUP TOPIC OPTIONS (see ../member.ts)."""
import faulthandler
import os
import sys
import threading
import time

from kafka import ConsumerRebalanceListener, KafkaConsumer
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.errors import KafkaError

import member

ASSIGNORS = {'range': RangePartitionAssignor, 'roundrobin': RoundRobinPartitionAssignor}


# Every member of these groups gets partitions. kafka-python 3.0.12 was seen to sit there without
# any, now and then when the machine was slow: whoever runs it as a service has it restarted.
IDLE_SECONDS = 20
last_owned = time.monotonic()
is_owner = False


class Listener(ConsumerRebalanceListener):
    def on_partitions_revoked(self, revoked):
        global is_owner
        is_owner = False
        member.show('assigned', partitions=[])

    def on_partitions_assigned(self, assigned):
        global is_owner
        is_owner = len(assigned) > 0
        member.show('assigned', partitions=sorted(one.partition for one in assigned))


def watch():
    """Starts this program anew when it has owned nothing for too long, and says where it stood."""
    global last_owned
    while not member.stopping.wait(1):
        if is_owner:
            last_owned = time.monotonic()
        elif time.monotonic() - last_owned > IDLE_SECONDS:
            faulthandler.dump_traceback(all_threads=True)
            member.show('error', value='no partitions for %d s: starts anew' % IDLE_SECONDS)
            os.execv(sys.executable, [sys.executable, '-B', *sys.argv])


threading.Thread(target=watch, daemon=True).start()


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
