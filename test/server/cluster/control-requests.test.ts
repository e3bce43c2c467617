/** Which requests of a controller are carried out: their epochs and their order. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ErrorCode } from '../../../src/protocol/error-codes.ts'
import type { LeaderAndIsrRequest } from '../../../src/protocol/messages/leader-and-isr.ts'
import { ControlRequests } from '../../../src/server/cluster/control-requests.ts'

const { NONE, STALE_BROKER_EPOCH, STALE_CONTROLLER_EPOCH } = ErrorCode

function harness() {
  const calls: string[] = []
  const state = { brokerEpochMin: 10, gate: Promise.resolve() }
  const requests = new ControlRequests({
    brokerEpochMin: () => state.brokerEpochMin,
    configs: {
      load: async (topics) => {
        calls.push(`configs ${[...topics]}`)
        await state.gate
      },
    },
    replicas: {
      applyLeaderAndIsr: async ({ controllerEpoch }) => {
        calls.push(`roles ${controllerEpoch}`)
        return { errorCode: NONE, partitionErrors: [], topics: [] }
      },
      stopReplicas: async ({ controllerEpoch }) => {
        calls.push(`stop ${controllerEpoch}`)
        return { errorCode: NONE, partitionErrors: [] }
      },
    },
    updateMetadata: async ({ controllerEpoch }) => {
      calls.push(`metadata ${controllerEpoch}`)
    },
  })
  return { calls, state, requests }
}

const common = (controllerEpoch: number, brokerEpoch: number) => ({
  ...{ controllerId: 1, isKRaftController: false, controllerEpoch, brokerEpoch, type: 0 },
})

function leaderAndIsr(controllerEpoch: number, brokerEpoch = 10): LeaderAndIsrRequest {
  return {
    ...common(controllerEpoch, brokerEpoch),
    ungroupedPartitionStates: [],
    topicStates: [{ topicName: 't', topicId: 'AAAAAAAAAAAAAAAAAAAAAQ', partitionStates: [] }],
    liveLeaders: [],
  }
}

const updateMetadata = (controllerEpoch: number, brokerEpoch = 10) => ({
  ...common(controllerEpoch, brokerEpoch),
  ...{ ungroupedPartitionStates: [], topicStates: [], liveBrokers: [] },
})

const stopReplica = (controllerEpoch: number, brokerEpoch = 10) => ({
  ...common(controllerEpoch, brokerEpoch),
  ...{ deletePartitions: false, ungroupedPartitions: [], topics: [], topicStates: [] },
})

test('what an older controller says changes nothing', async () => {
  const { calls, requests } = harness()
  assert.equal((await requests.updateMetadata(updateMetadata(5))).errorCode, NONE)
  assert.equal((await requests.leaderAndIsr(leaderAndIsr(4))).errorCode, STALE_CONTROLLER_EPOCH)
  assert.equal((await requests.stopReplica(stopReplica(4))).errorCode, STALE_CONTROLLER_EPOCH)
  assert.equal((await requests.updateMetadata(updateMetadata(4))).errorCode, STALE_CONTROLLER_EPOCH)
  assert.deepEqual(calls, ['metadata 5'])
  assert.equal((await requests.leaderAndIsr(leaderAndIsr(5))).errorCode, NONE)
  assert.deepEqual(calls, ['metadata 5', 'configs t', 'roles 5'])
})

test('what was meant for an earlier life of the broker changes nothing (KIP-380)', async () => {
  const { calls, state, requests } = harness()
  assert.equal((await requests.leaderAndIsr(leaderAndIsr(1, 9))).errorCode, STALE_BROKER_EPOCH)
  assert.equal((await requests.stopReplica(stopReplica(1, 9))).errorCode, STALE_BROKER_EPOCH)
  assert.equal((await requests.updateMetadata(updateMetadata(1, 9))).errorCode, STALE_BROKER_EPOCH)
  assert.deepEqual(calls, [])
  // A stale one does not make its controller the latest either.
  assert.equal((await requests.leaderAndIsr(leaderAndIsr(9, 9))).errorCode, STALE_BROKER_EPOCH)
  for (const epoch of [10, 11, -1]) {
    assert.equal((await requests.updateMetadata(updateMetadata(1, epoch))).errorCode, NONE)
  }
  // Fenced: until it has registered anew nothing is meant for it.
  state.brokerEpochMin = 12
  assert.equal((await requests.leaderAndIsr(leaderAndIsr(1, 11))).errorCode, STALE_BROKER_EPOCH)
})

test('requests are carried out in their order, however long one takes', async () => {
  const { calls, state, requests } = harness()
  let open = (): void => undefined
  state.gate = new Promise((resolve) => {
    open = resolve
  })
  const answers = [
    requests.leaderAndIsr(leaderAndIsr(1)),
    requests.stopReplica(stopReplica(1)),
    requests.updateMetadata(updateMetadata(1)),
  ]
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(calls, ['configs t'])
  open()
  await Promise.all(answers)
  assert.deepEqual(calls, ['configs t', 'roles 1', 'stop 1', 'metadata 1'])
})

test('the broker is fenced while configs are read: what was meant for its old life is dropped', async () => {
  const { calls, state, requests } = harness()
  let open = (): void => undefined
  state.gate = new Promise((resolve) => {
    open = resolve
  })
  const answer = requests.leaderAndIsr(leaderAndIsr(1))
  await new Promise((resolve) => setImmediate(resolve))
  state.brokerEpochMin = 11
  open()
  assert.equal((await answer).errorCode, STALE_BROKER_EPOCH)
  assert.deepEqual(calls, ['configs t'])
})
