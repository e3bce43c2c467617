/** What the handlers of requests between brokers work with. */
import type { Controller } from '../../controller/controller.ts'
import type { Logger } from '../../util/logger.ts'
import type { ControllerForwarding } from '../controller-forwarding.ts'
import type { ControlRequests } from './control-requests.ts'
import type { RegisteredBrokers } from './registered-brokers.ts'

export interface ClusterServices {
  readonly brokers: RegisteredBrokers
  readonly controller: Controller
  readonly controlRequests: ControlRequests
  readonly forwarding: ControllerForwarding
  readonly logger: Logger
}
