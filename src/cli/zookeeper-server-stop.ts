/** `zookeeper-server-stop`: asks ZooKeeper servers of this machine and user to stop. */
import { resolve } from 'node:path'
import { stopProcesses } from './kit/processes.ts'
import { defineTool, ToolError } from './kit/tool.ts'
import { zooKeeperProcesses } from './zookeeper/server-process.ts'

export const zookeeperServerStop = defineTool({
  name: 'zookeeper-server-stop',
  summary: 'Stops the ZooKeeper servers of this user on this machine (SIGTERM).',
  options: {
    config: {
      argument: 'file',
      help: 'Only the server that was started with this zookeeper.properties.',
      own: true,
    },
    wait: { help: 'Returns when they have ended.', own: true },
  },
  notes: ['Servers are found by their command line in /proc.'],
  async run(given, io) {
    const file = given.value('config')
    const path = file === undefined ? null : resolve(file)
    const found = zooKeeperProcesses()
      .filter(({ properties }) => path === null || properties === path)
      .map(({ pid, properties }) => ({ pid, name: `ZooKeeper of ${properties}` }))
    if (found.length === 0) throw new ToolError('No zookeeper server to stop')
    await stopProcesses(found, given.has('wait'), io)
    return 0
  },
})
