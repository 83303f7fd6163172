package reference

// bodies are examples for operations whose schema alone makes a poor one. Ids
// that end in zeros stand for yours.
var bodies = map[string]string{
	"changePassword":        `{"currentPassword":"a long unguessable phrase","newPassword":"another unguessable phrase"}`,
	"createMyKey":           `{"name":"ci","scopes":["mcp:read","mcp:write"],"expiresIn":7776000}`,
	"rotateMyKey":           `{"gracePeriod":3600}`,
	"createService":         `{"slug":"weather","url":"https://mcp.example.com/mcp","name":"Weather","description":"Forecasts by the hour"}`,
	"updateService":         `{"description":"Forecasts by the minute"}`,
	"configureService":      `{"config":{}}`,
	"setPrices":             `{"price":2,"tools":{"echo":5}}`,
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
	"adminSavePlan":         `{"name":"Team","users":20,"services":50,"requestsPerDay":100000,"ratePerMinute":600,"burst":100,"monthlyCredits":5000}`,
	"adminSetPlan":          `{"plan":"free"}`,
}

// Unused returns examples whose operation is not among the given ones.
func Unused(operations map[string]bool) (ids []string) {
	for id := range bodies {
		if !operations[id] {
			ids = append(ids, id)
		}
	}
	return ids
}
