import type { ClusterRegistry, RegisteredController } from '../registry/cluster-registry.ts'
import type { NewTopic, ChangeOptions, CreateOutcome, TopicOutcome, MorePartitions } from './topic-manager.ts'
export class Controller {
  readonly isActive: boolean = false
  controllerId = -1
  #registry: ClusterRegistry
  #listeners = new Set<(c: RegisteredController | null) => void>()
  constructor(options: any) { this.#registry = options.registry }
  start(): void { this.#registry.watchController((c) => { this.controllerId = c?.brokerId ?? -1; for (const l of this.#listeners) l(c) }) }
  async stop(): Promise<void> {}
  onController(listener: (c: RegisteredController | null) => void): () => void { this.#listeners.add(listener); return () => this.#listeners.delete(listener) }
  createTopics(topics: readonly NewTopic[], options: ChangeOptions): Promise<CreateOutcome[]> { throw new Error('x') }
  createPartitions(topics: readonly MorePartitions[], options: ChangeOptions): Promise<TopicOutcome[]> { throw new Error('x') }
  deleteTopics(names: readonly string[], timeoutMs: number): Promise<TopicOutcome[]> { throw new Error('x') }
  alterPartition(request: any): Promise<any> { throw new Error('x') }
  controlledShutdown(request: any): Promise<any> { throw new Error('x') }
  allocateProducerIds(request: any): Promise<any> { throw new Error('x') }
  electLeaders(request: any): Promise<any> { throw new Error('x') }
  alterPartitionReassignments(request: any): Promise<any> { throw new Error('x') }
  listPartitionReassignments(request: any): Promise<any> { throw new Error('x') }
}
