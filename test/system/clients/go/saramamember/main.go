// A member of a group by sarama: saramamember BOOTSTRAP GROUP TOPIC OPTIONS (see ../../member.ts).
package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"time"

	"github.com/IBM/sarama"

	"shardlog/test/clients/member"
)

type handler struct{ topic string }

func (h handler) Setup(session sarama.ConsumerGroupSession) error {
	member.Print(member.Event{Event: "assigned", Partitions: session.Claims()[h.topic]})
	return nil
}

func (h handler) Cleanup(sarama.ConsumerGroupSession) error {
	member.Print(member.Event{Event: "assigned"})
	return nil
}

func (h handler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			member.Print(member.Event{
				Event: "record", Partition: message.Partition, Offset: message.Offset, Value: string(message.Value),
			})
			session.MarkMessage(message, "")
			session.Commit()
		case <-session.Context().Done():
			return nil
		}
	}
}

func main() {
	options := member.Parse(os.Args)
	config := sarama.NewConfig()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Group.Session.Timeout = time.Duration(options.SessionTimeoutMs) * time.Millisecond
	config.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	config.Consumer.Group.InstanceId = options.InstanceID
	config.Consumer.Return.Errors = true
	strategy := sarama.NewBalanceStrategyRange()
	if options.Assignor == "roundrobin" {
		strategy = sarama.NewBalanceStrategyRoundRobin()
	}
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategy}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		json.NewDecoder(os.Stdin).Decode(&struct{}{})
		cancel()
	}()
	// The first broker may be away when it starts.
	for ctx.Err() == nil {
		group, err := sarama.NewConsumerGroup([]string{options.Bootstrap}, options.Group, config)
		if err != nil {
			member.Print(member.Event{Event: "error", Value: err.Error()})
			time.Sleep(time.Second)
			continue
		}
		go func() {
			for err := range group.Errors() {
				member.Print(member.Event{Event: "error", Value: err.Error()})
			}
		}()
		for ctx.Err() == nil {
			err := group.Consume(ctx, []string{options.Topic}, handler{options.Topic})
			if err != nil && !errors.Is(err, context.Canceled) {
				member.Print(member.Event{Event: "error", Value: err.Error()})
				time.Sleep(200 * time.Millisecond)
			}
		}
		group.Close()
	}
}
