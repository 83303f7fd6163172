package reference

// bodies are examples for operations whose schema alone makes a poor one, by
// id, or by method and path where two doors share an id. Ids that end in zeros
// stand for yours.
var bodies = map[string]string{
	"changePassword":        `{"currentPassword":"a long unguessable phrase","newPassword":"another unguessable phrase"}`,
	"createMyKey":           `{"name":"ci","scopes":["mcp:read","mcp:write"],"expiresIn":7776000}`,
	"rotateMyKey":           `{"gracePeriod":3600}`,
	"createService":         `{"slug":"weather","url":"https://mcp.example.com/mcp","name":"Weather","description":"Forecasts by the hour"}`,
	"updateService":         `{"description":"Forecasts by the minute"}`,
	"configureService":      `{"config":{}}`,
	"setPrices":             `{"price":2,"tools":{"echo":5}}`,
	"doctorServer":          `{}`,
	"createServer":          `{"slug":"crm","url":"https://crm.example.com/mcp","headers":{"Authorization":"Bearer SECRET"}}`,
	"updateServer":          `{"timeoutMs":30000}`,
	"executeTool":           `{"serviceId":"svc_01k00000000000000000000000","toolName":"echo","parameters":{"text":"hello"}}`,
	"executeResource":       `{"serviceId":"svc_01k00000000000000000000000","resourceName":"greeting","parameters":{"name":"Ada"}}`,
	"executePrompt":         `{"serviceId":"svc_01k00000000000000000000000","promptName":"introduce","parameters":{"audience":"a child"}}`,
	"updateOrganization":    `{"contactEmail":"it@example.com"}`,
	"createOrganization":    `{"name":"Example & Sons"}`,
	"updateMember":          `{"role":"developer"}`,
	"invite":                `{"email":"grace@example.com","role":"developer"}`,
	"createOrganizationKey": `{"name":"deploy","expiresIn":7776000}`,
	"rotateOrganizationKey": `{"gracePeriod":3600}`,
	"adminUpdateAccount":    `{"monthlyAllocation":500}`,
	"adminTopUp":            `{"amount":1000,"reason":"invoice 2026-17"}`,
	"adminTakeCredits":      `{"amount":10,"reason":"invoice 2026-17 was counted twice"}`,
	"adminSavePlan":         `{"name":"Team","users":20,"services":50,"requestsPerDay":100000,"ratePerMinute":600,"burst":100,"monthlyCredits":5000}`,
	"adminSetPlan":          `{"plan":"free"}`,
	"setAllowlist":          `{"plugins":["weather"],"enabledBy":"Ada Lovelace"}`,
	"adminAddEntry":         `{"npm":"@acme/mcp-notes@1.2.3"}`,
	"adminEnableEntry":      `{"price":2}`,
	"createWorkspace":       `{"name":"Research","role":"analyst"}`,
	"updateWorkspace":       `{"description":"Reads papers","instructions":"Name your sources."}`,
	"pauseWorkspace":        `{"reason":"the project rests"}`,
	"setOrganizationSecret": `{"value":"SECRET"}`,
	"setWorkspaceSecret":    `{"value":"SECRET"}`,
	"setBudget":             `{"budgetLimits":{"daily":500,"monthly":5000}}`,
	"importTemplate":        `{"name":"analyst","files":{"template.yaml":"name: Analyst\nrole: analyst\n","instructions.md":"Name your sources."}}`,
	"importOrganization":    `{"template":{"name":"Team","workspaces":[{"name":"Analyst","role":"analyst"}]},"dryRun":true}`,
	"importBundle":          `{"bundle":{},"dryRun":true}`,
	"setSchedule":           `{"cron":"0 6 * * *"}`,
	"createApiKey":          `{"name":"ci","organizationId":"org_01k00000000000000000000000"}`,
	"readServerResource":    `{"uri":"demo://about"}`,
	"callServerTool":        `{"toolName":"echo","parameters":{"text":"hello"}}`,
	"getServerPrompt":       `{"promptName":"introduce","arguments":{"audience":"a child"}}`,
	"listServerTools":       `{}`,
	"listServerPrompts":     `{}`,
	"listServerResources":   `{}`,

	"POST /api/v1/projects":                                                    `{"name":"Nightly","description":"Servers that CI looks at"}`,
	"PATCH /api/v1/projects/{projectId}":                                       `{"description":"Servers that CI looks at each night"}`,
	"POST /api/v1/projects/{projectId}/servers":                                `{"name":"CRM","enabled":true,"transportType":"http","url":"https://crm.example.com/mcp","headers":{"Authorization":"Bearer SECRET"}}`,
	"PATCH /api/v1/projects/{projectId}/servers/{serverId}":                    `{"timeout":30000,"headers":{"X-Team":"platform"}}`,
	"POST /api/v1/projects/{projectId}/servers/{serverId}/oauth/import-tokens": `{"serverUrl":"https://mcp.example.com/mcp","clientInformation":{"clientId":"CLIENT"},"tokens":{"access_token":"TOKEN","refresh_token":"REFRESH","expires_in":3600}}`,
}

// headers are what an example sends beside the required ones.
var headers = map[string]string{
	"removeWorkspace": "X-Confirm-Name: Research",
}

// Unused returns examples whose operation is not among the given ones, which
// hold both an operation's id and its method and path.
func Unused(operations map[string]bool) (ids []string) {
	for _, examples := range []map[string]string{bodies, headers} {
		for id := range examples {
			if !operations[id] {
				ids = append(ids, id)
			}
		}
	}
	return ids
}
