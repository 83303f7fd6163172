package mcp

// Requests from client to server.
const (
	MethodInitialize            = "initialize" // legacy
	MethodPing                  = "ping"       // legacy
	MethodDiscover              = "server/discover"
	MethodToolsList             = "tools/list"
	MethodToolsCall             = "tools/call"
	MethodResourcesList         = "resources/list"
	MethodResourceTemplatesList = "resources/templates/list"
	MethodResourcesRead         = "resources/read"
	MethodResourcesSubscribe    = "resources/subscribe"   // legacy
	MethodResourcesUnsubscribe  = "resources/unsubscribe" // legacy
	MethodPromptsList           = "prompts/list"
	MethodPromptsGet            = "prompts/get"
	MethodComplete              = "completion/complete"
	MethodSetLevel              = "logging/setLevel" // legacy
	MethodSubscriptionsListen   = "subscriptions/listen"
	MethodTasksGet              = "tasks/get"
	MethodTasksUpdate           = "tasks/update"
	MethodTasksCancel           = "tasks/cancel"
	MethodTasksList             = "tasks/list"   // the 2025-11-25 experiment
	MethodTasksResult           = "tasks/result" // the 2025-11-25 experiment
)

// Requests from server to client. The modern era carries them as data inside
// an input_required result.
const (
	MethodSamplingCreate = "sampling/createMessage"
	MethodElicitCreate   = "elicitation/create"
	MethodRootsList      = "roots/list"
)

// Notifications.
const (
	NotifyInitialized         = "notifications/initialized" // legacy
	NotifyCancelled           = "notifications/cancelled"
	NotifyProgress            = "notifications/progress"
	NotifyMessage             = "notifications/message"
	NotifyToolsChanged        = "notifications/tools/list_changed"
	NotifyPromptsChanged      = "notifications/prompts/list_changed"
	NotifyResourcesChanged    = "notifications/resources/list_changed"
	NotifyResourceUpdated     = "notifications/resources/updated"
	NotifyRootsChanged        = "notifications/roots/list_changed" // legacy
	NotifyElicitationComplete = "notifications/elicitation/complete"
	NotifySubscriptionsAck    = "notifications/subscriptions/acknowledged"
	NotifyTasksStatus         = "notifications/tasks/status" // the 2025-11-25 experiment
	NotifyTasks               = "notifications/tasks"
)

// intern returns the method a text names without allocating when it is known.
func intern(text []byte) string {
	switch string(text) {
	case MethodToolsCall:
		return MethodToolsCall
	case MethodToolsList:
		return MethodToolsList
	case MethodInitialize:
		return MethodInitialize
	case MethodPing:
		return MethodPing
	case MethodDiscover:
		return MethodDiscover
	case MethodResourcesList:
		return MethodResourcesList
	case MethodResourceTemplatesList:
		return MethodResourceTemplatesList
	case MethodResourcesRead:
		return MethodResourcesRead
	case MethodResourcesSubscribe:
		return MethodResourcesSubscribe
	case MethodResourcesUnsubscribe:
		return MethodResourcesUnsubscribe
	case MethodPromptsList:
		return MethodPromptsList
	case MethodPromptsGet:
		return MethodPromptsGet
	case MethodComplete:
		return MethodComplete
	case MethodSetLevel:
		return MethodSetLevel
	case MethodSubscriptionsListen:
		return MethodSubscriptionsListen
	}
	return internRare(text)
}

func internRare(text []byte) string {
	switch string(text) {
	case MethodTasksGet:
		return MethodTasksGet
	case MethodTasksUpdate:
		return MethodTasksUpdate
	case MethodTasksCancel:
		return MethodTasksCancel
	case MethodTasksList:
		return MethodTasksList
	case MethodTasksResult:
		return MethodTasksResult
	case MethodSamplingCreate:
		return MethodSamplingCreate
	case MethodElicitCreate:
		return MethodElicitCreate
	case MethodRootsList:
		return MethodRootsList
	case NotifyInitialized:
		return NotifyInitialized
	case NotifyCancelled:
		return NotifyCancelled
	case NotifyProgress:
		return NotifyProgress
	case NotifyMessage:
		return NotifyMessage
	case NotifyToolsChanged:
		return NotifyToolsChanged
	case NotifyPromptsChanged:
		return NotifyPromptsChanged
	case NotifyResourcesChanged:
		return NotifyResourcesChanged
	case NotifyResourceUpdated:
		return NotifyResourceUpdated
	case NotifyRootsChanged:
		return NotifyRootsChanged
	case NotifyElicitationComplete:
		return NotifyElicitationComplete
	case NotifySubscriptionsAck:
		return NotifySubscriptionsAck
	case NotifyTasksStatus:
		return NotifyTasksStatus
	case NotifyTasks:
		return NotifyTasks
	}
	return string(text)
}

// NamedBy returns the member of params that Mcp-Name mirrors for a method, or
// "" for methods without that header.
func NamedBy(method string) string {
	switch method {
	case MethodToolsCall, MethodPromptsGet:
		return "name"
	case MethodResourcesRead:
		return "uri"
	case MethodTasksGet, MethodTasksUpdate, MethodTasksCancel:
		return "taskId"
	}
	return ""
}
