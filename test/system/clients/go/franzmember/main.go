// A member of a group by franz-go: franzmember BOOTSTRAP GROUP TOPIC OPTIONS (see ../../member.ts).
package main

import (
	"context"
	"encoding/json"
	"os"
	"sort"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"shardlog/test/clients/member"
)

func main() {
	options := member.Parse(os.Args)
	var balancer kgo.GroupBalancer = kgo.RangeBalancer()
	switch options.Assignor {
	case "roundrobin":
		balancer = kgo.RoundRobinBalancer()
	case "cooperative-sticky":
		balancer = kgo.CooperativeStickyBalancer()
	}
	var mutex sync.Mutex
	owned := map[int32]bool{}
	print := func() {
		mutex.Lock()
		defer mutex.Unlock()
		list := []int32{}
		for partition := range owned {
			list = append(list, partition)
		}
		sort.Slice(list, func(a, b int) bool { return list[a] < list[b] })
		member.Print(member.Event{Event: "assigned", Partitions: list})
	}
	change := func(present bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, changed map[string][]int32) {
			mutex.Lock()
			for _, partition := range changed[options.Topic] {
				if present {
					owned[partition] = true
				} else {
					delete(owned, partition)
				}
			}
			mutex.Unlock()
			print()
		}
	}
	settings := []kgo.Opt{
		kgo.SeedBrokers(options.Bootstrap),
		kgo.ConsumerGroup(options.Group),
		kgo.ConsumeTopics(options.Topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.Balancers(balancer),
		kgo.SessionTimeout(time.Duration(options.SessionTimeoutMs) * time.Millisecond),
		kgo.HeartbeatInterval(500 * time.Millisecond),
		kgo.DisableAutoCommit(),
		kgo.DisableClientMetrics(),
		kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(change(true)),
		kgo.OnPartitionsRevoked(change(false)),
		kgo.OnPartitionsLost(change(false)),
	}
	if options.InstanceID != "" {
		settings = append(settings, kgo.InstanceID(options.InstanceID))
	}
	client, err := kgo.NewClient(settings...)
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		json.NewDecoder(os.Stdin).Decode(&struct{}{})
		cancel()
	}()
	for ctx.Err() == nil {
		fetches := client.PollFetches(ctx)
		fetches.EachRecord(func(record *kgo.Record) {
			member.Print(member.Event{
				Event: "record", Partition: record.Partition, Offset: record.Offset, Value: string(record.Value),
			})
		})
		if fetches.NumRecords() > 0 {
			if err := client.CommitUncommittedOffsets(context.Background()); err != nil {
				member.Print(member.Event{Event: "error", Value: err.Error()})
			}
		}
		client.AllowRebalance()
	}
	client.CloseAllowingRebalance()
}
