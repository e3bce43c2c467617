"""A member of a group by confluent-kafka: BOOTSTRAP GROUP TOPIC OPTIONS (see ../member.ts)."""
from confluent_kafka import Consumer, KafkaException

import member

owned = set()


def assigned(consumer, partitions):
    owned.update(one.partition for one in partitions)
    member.show('assigned', partitions=sorted(owned))


def revoked(consumer, partitions):
    owned.difference_update(one.partition for one in partitions)
    member.show('assigned', partitions=sorted(owned))


config = {
    'bootstrap.servers': member.bootstrap,
    'group.id': member.group,
    'auto.offset.reset': 'earliest',
    'enable.auto.commit': False,
    'session.timeout.ms': member.options['sessionTimeoutMs'],
    'heartbeat.interval.ms': 500,
    'partition.assignment.strategy': member.options['assignor'],
}
if member.options.get('instanceId'):
    config['group.instance.id'] = member.options['instanceId']
consumer = Consumer(config)
consumer.subscribe([member.topic], on_assign=assigned, on_revoke=revoked, on_lost=revoked)
while not member.stopping.is_set():
    message = consumer.poll(0.2)
    if message is None:
        continue
    if message.error():
        member.show('error', value=str(message.error()))
        continue
    member.record(message.partition(), message.offset(), message.value())
    try:
        consumer.commit(message, asynchronous=False)
    except KafkaException as error:
        member.show('error', value=str(error))
consumer.close()
