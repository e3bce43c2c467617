/**
 * The broker's configuration as texts by layer, kept up to date with the registry. It is what
 * topics inherit from and what DescribeConfigs tells.
 */
import type { BrokerTexts } from '../config/topic-settings.ts'

export class LiveBrokerTexts implements BrokerTexts {
  dynamic: ReadonlyMap<string, string> = new Map()
  dynamicDefault: ReadonlyMap<string, string> = new Map()
  readonly fixed: ReadonlyMap<string, string>

  constructor(fixed: ReadonlyMap<string, string>) {
    this.fixed = fixed
  }
}
