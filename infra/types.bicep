metadata description = 'The types of the parameters: what an environment may choose, and nothing else.'

@export()
@description('Which of the three environments this is. Bound into names, tags, tokens and the encryption.')
type environmentName = 'development' | 'staging' | 'production'

@export()
@description('full: gateway, firewall, dedicated bus, standby network. small: the same stores for a tenth of the cost.')
type tierName = 'full' | 'small'

@export()
@description('One of the two regions of an environment.')
@sealed()
type regionPlan = {
  @description('The Azure name, such as westeurope.')
  name: string

  @description('Three letters that stand for it in names.')
  @minLength(3)
  @maxLength(3)
  code: string

  @description('The address space of its virtual network: a /20 that no other environment uses.')
  addressSpace: string
}

@export()
@description('How much of everything there is.')
@sealed()
type capacityPlan = {
  @description('Instances that wait for HTTP requests; 0: none.')
  @minValue(0)
  alwaysReadyHttp: int

  @description('The most instances of one scale group; 40 is the least that the plan accepts.')
  @minValue(40)
  @maxValue(1000)
  maximumInstances: int

  @description('Memory of one instance; processor and bandwidth grow with it.')
  instanceMemoryMegabytes: 2048 | 4096

  @description('HTTP requests that one instance serves at once, before another is started. Unset it is 1 for Python.')
  @minValue(2)
  @maxValue(100)
  requestsPerInstance: int

  @description('The most that all Cosmos DB containers together may use, request units a second.')
  @minValue(1000)
  recordsMaxThroughput: int

  @description('Where new keys of tenants are made. Each in hardware costs up to five dollars a month, in software nothing.')
  keyProtection: 'hardware' | 'software'

  @description('Service Bus messaging units; only the full tier has any.')
  busMessagingUnits: 0 | 1 | 2 | 4 | 8 | 16

  @description('Gateway instances that always run.')
  @minValue(0)
  gatewayMinimumUnits: int

  @description('Gateway instances at most.')
  @minValue(2)
  gatewayMaximumUnits: int

  @description('The most that Log Analytics takes in a day, GB; -1: no limit. A limit silences alerts when it is reached.')
  logDailyGigabytes: int
}

@export()
@description('What the outside sees and what may be reached from inside.')
@sealed()
type edgePlan = {
  @description('The host name under which clients see the API.')
  apiHost: string

  @description('The host name under which clients put staged uploads.')
  uploadHost: string

  @description('The networks, CIDR, from which employees may use the API.')
  @minLength(1)
  staffNetworks: string[]

  @description('Host names of the storage that tenants own outside Azure. Full names: a wildcard would let data out to anyone.')
  targetHosts: string[]

  @description('Names of the storage accounts that tenants own at Azure.')
  targetAccounts: string[]

  @description('Origins, such as https://app.example.com, whose web pages may call the API and put staged uploads from a browser.')
  browserOrigins: string[]

  @description('Who states something about the audit logs.')
  attestation: attestationPlan

  @description('Where releases are shipped from.')
  operations: operationsPlan
}

@export()
@description('Services of others that state something about the audit logs. They see the ids of tenants, and how much is logged.')
@sealed()
type attestationPlan = {
  @description('Who cosigns checkpoints and how many are a quorum, as c2sp.org/tlog-policy has it, each witness with its URL; empty: nobody.')
  witnessPolicy: string

  @description('The time stamp authority (RFC 3161); empty: none.')
  timestampUrl: string

  @description('The certificates, PEM, that the authority\'s has to chain to.')
  timestampRoots: string

  @description('The host names of all of them, on port 443, for the firewall of a full environment.')
  hosts: string[]
}

@export()
@description('The network of operations, from which releases are shipped and logs are read.')
@sealed()
type operationsPlan = {
  @description('The id of the network to peer with; empty: none.')
  networkId: string

  @description('Its address spaces, which may reach the private endpoints.')
  addressSpaces: string[]
}

@export()
@description('How long things are kept.')
@sealed()
type retentionPlan = {
  @description('Days for which no one, not even an owner, can change or delete what is in the backups without a date of its own.')
  @minValue(1)
  backupDays: int

  @description('Days for which the archive of the activity log cannot be changed or deleted.')
  @minValue(1)
  archiveDays: int

  @description('Unlocked at the first deployment; Locked, which can never be undone, once a restore has been tried. The dates that the app gives are locked from the first.')
  immutability: 'Unlocked' | 'Locked'

  @description('Days for which deleted keys, versions and objects can be brought back.')
  @minValue(7)
  @maxValue(90)
  recoveryDays: int

  @description('Days for which logs can be searched.')
  @minValue(90)
  @maxValue(730)
  logDays: int
}

@export()
@description('Who is told, and from when the budget counts.')
@sealed()
type watchPlan = {
  @description('The e-mail address that receives every alert.')
  alertAddress: string

  @description('Money a month, in the currency of the subscription, at which the budget warns.')
  @minValue(1)
  monthlyBudget: int

  @description('The first day of the month in which the budget begins, such as 2026-12-01.')
  budgetStart: string

  @description('The Microsoft Defender plans to turn on, such as StorageAccounts or KeyVaults; they cost extra.')
  defenderPlans: string[]
}

@export()
@description('The repository whose releases may be deployed, for the OIDC federation of its workflows.')
@sealed()
type repositoryPlan = {
  @description('The GitHub organisation.')
  organisation: string

  @description('The name of the repository within it.')
  name: string
}

@export()
@description('A role of an identity at the resource that names the grant.')
@sealed()
type grant = {
  @description('The name of the user-assigned identity.')
  identity: string

  @description('The GUID of the role, from roles.bicep.')
  role: string
}

@export()
@description('Tags: what it belongs to, and how carefully it must be treated.')
@sealed()
type resourceTags = {
  @description('The name of the product.')
  application: 'strongroom'

  @description('Which environment this is; the app compares what it can see of it with its own setting.')
  environment: environmentName

  @description('customer: the data of customers may be in it. test: it must not be.')
  data: 'customer' | 'test'
}

@export()
@description('What every resource of an environment carries and refers to.')
@sealed()
type contextPlan = {
  @description('Which environment this is.')
  environment: environmentName

  @description('Six characters that make names unique in the world.')
  suffix: string

  @description('The tags that every resource carries.')
  tags: resourceTags

  @description('The resource id of the Log Analytics workspace.')
  workspaceId: string

  @description('The id of the action group that every alert notifies.')
  actionGroupId: string

  @description('The name of the resource group that holds the identities and what is watched.')
  identityGroup: string

  @description('Where customer-managed encryption keys are: the vault, and the identity that the stores use it with.')
  encryption: encryptionPlan

  @description('Whether a lock keeps the stores from being deleted.')
  locked: bool
}

@export()
@description('Where the stores find the keys that encrypt them at rest.')
@sealed()
type encryptionPlan = {
  @description('The URL of the platform key vault, with a slash at the end.')
  vaultUri: string

  @description('The name of the identity that may wrap and unwrap with its keys.')
  identity: string
}

@export()
@description('One private endpoint: which part of which resource, and the DNS zones that must know it.')
@sealed()
type endpointPlan = {
  @description('A short name, unique within the network.')
  name: string

  @description('The id of the resource behind it.')
  target: string

  @description('The sub-resource, such as blob or vault.')
  group: string

  @description('The private DNS zones that get its IP address.')
  zones: string[]
}

@export()
@description('A blob container and who may do what in it.')
@sealed()
type containerPlan = {
  @description('The name of the container.')
  name: string

  @description('Who may do what in it.')
  grants: grant[]
}

@export()
@description('What makes one storage account differ from another.')
@sealed()
type accountPlan = {
  @description('The name of the account.')
  name: string

  @description('Three zones of the region and its pair; RA: the pair can be read at any time.')
  sku: 'Standard_GZRS' | 'Standard_RAGZRS'

  @description('Its containers.')
  containers: containerPlan[]

  @description('Who may do what with the account as a whole.')
  grants: grant[]

  @description('Whether overwritten and deleted objects are kept as versions.')
  versioning: bool

  @description('Days for which deleted objects and containers can be brought back; 0: what is deleted is gone.')
  recoveryDays: int

  @description('Days after which an object is deleted; 0: never.')
  deleteAfterDays: int

  @description('Days for which no one can change or delete an object that has no date of its own; 0: objects cannot have dates.')
  immutableDays: int

  @description('The state of that policy.')
  immutability: 'Unlocked' | 'Locked'

  @description('Whether immutable objects may be appended to, as log archives are.')
  appendable: bool

  @description('Origins whose web pages may put blobs from a browser, with a grant; none: no cross-origin request is answered.')
  browserOrigins: string[]
}

@export()
@description('A topic as topology.json describes it.')
@sealed()
type topicPlan = {
  @description('Its name.')
  name: string

  @description('Minutes in which a message id that comes again is dropped.')
  duplicateDetectionMinutes: int

  @description('Who listens.')
  subscriptions: subscriptionPlan[]
}

@export()
@description('A subscription as topology.json describes it.')
@sealed()
type subscriptionPlan = {
  @description('Its name.')
  name: string

  @description('The event types that it wants.')
  types: string[]

  @description('Whether the events of one tenant come one at a time and in order.')
  sessions: bool

  @description('Seconds for which a message is locked.')
  lockSeconds: int

  @description('Deliveries after which a message is put aside.')
  maxDeliveryCount: int
}

@export()
@description('An alert on a metric.')
@sealed()
type metricAlertPlan = {
  @description('Its name, which is that of its section in docs/operations.md.')
  name: string

  @description('The id of the resource.')
  target: string

  @description('The type of the resource.')
  namespace: string

  @description('The metric.')
  metric: string

  @description('How the values of fifteen minutes become one.')
  aggregation: 'Average' | 'Count' | 'Maximum' | 'Total'

  @description('More than this is an alert.')
  @minValue(0)
  threshold: int

  @description('0: a page at night. 1: today. 2: this week.')
  severity: 0 | 1 | 2

  @description('The dimension to look at; empty: all values together.')
  dimension: string

  @description('The values of that dimension that count.')
  values: string[]
}

@export()
@description('An alert on logs: more rows than the threshold.')
@sealed()
type logAlertPlan = {
  @description('Its name, which is that of its section in docs/operations.md.')
  name: string

  @description('The query, in the Kusto language.')
  query: string

  @description('More rows than this are an alert.')
  @minValue(0)
  threshold: int

  @description('How often, and over how long a time, it is asked.')
  every: 'PT5M' | 'PT15M' | 'PT1H' | 'P1D'

  @description('0: a page at night. 1: today. 2: this week.')
  severity: 0 | 1 | 2
}

@export()
@description('The private DNS zones, by what they name.')
@sealed()
type zonePlan = {
  @description('Blobs.')
  blob: string

  @description('Tables.')
  table: string

  @description('Key vaults.')
  keys: string

  @description('Cosmos DB.')
  records: string

  @description('Service Bus.')
  bus: string

  @description('The function app and its deployment site.')
  sites: string

  @description('Azure Monitor.')
  monitor: string

  @description('What takes logs in.')
  monitorIngestion: string

  @description('What serves queries.')
  monitorQuery: string

  @description('The settings of agents.')
  monitorAgents: string
}
