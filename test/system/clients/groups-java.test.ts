/** Groups of kafka-clients from 0.10.2 on. */
import { testGroups } from './group-scenario.ts'
import { compileJavaMember, type JavaMember } from './member.ts'

const releases = [
  ['kafka-clients-0.10.2', 'millis'],
  ['kafka-clients-1.1', 'millis'],
  ['kafka-clients-2.8', 'duration'],
  ['kafka-clients-3.9', 'duration'],
  ['kafka-clients-4.1', 'duration'],
] as const

const compiled: JavaMember[] = []

testGroups({
  title: 'groups of kafka-clients 0.10.2 to 4.1',
  needs: releases.map(([set]) => set),
  clients: async () =>
    await Promise.all(
      releases.map(async ([set, folder]) => {
        const member = await compileJavaMember(set, `${folder}/Poll`)
        compiled.push(member)
        return { name: set, command: member.command }
      }),
    ),
  dispose: () => {
    for (const member of compiled) member.dispose()
  },
})
