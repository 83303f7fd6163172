package platform

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/fault"
	"headgate/internal/rest"
)

// ServiceRow is a service in a list.
type ServiceRow struct {
	ID           string `json:"id"`
	Name         string `json:"name"`
	Description  string `json:"description"`
	IsConfigured bool   `json:"isConfigured" doc:"For whoever asks."`
	Version      string `json:"version"`
	Slug         string `json:"slug"`
	Private      bool   `json:"private" doc:"Made with a server of the organization."`
	Price        int64  `json:"price" doc:"Credits a tool call costs."`
}

func serviceRowOf(s *catalog.Service) ServiceRow {
	return ServiceRow{s.ID, s.Name, s.Description, s.Configured, s.Version, s.Slug, s.Private, s.Price}
}

type serviceDetail struct {
	ServiceRow
	ConfigSchema  rest.Object    `json:"configSchema"`
	Capabilities  []string       `json:"capabilities"`
	ConfigScope   string         `json:"configScope" enum:"organization,user" doc:"Who fills in the schema."`
	Configuration *configuration `json:"configuration,omitempty" doc:"What your calls would use, without secrets."`
	Transport     string         `json:"transport"`
	URL           string         `json:"url,omitempty" doc:"Of the organization's own services alone."`
	HeaderNames   []string       `json:"headerNames,omitempty"`
	Era           string         `json:"era" enum:"auto,legacy,modern"`
	TimeoutMs     int64          `json:"timeoutMs"`
	ReadPrice     int64          `json:"readPrice" doc:"Credits a resource or prompt costs."`
	CreatedAt     rest.Time      `json:"createdAt"`
	UpdatedAt     rest.Time      `json:"updatedAt"`
}

type configuration struct {
	Values    map[string]any `json:"values"`
	Secrets   []string       `json:"secrets" doc:"The secret fields that are set."`
	UpdatedAt rest.Time      `json:"updatedAt"`
}

// serviceDetailOf shows a service; its address only to whose it is.
func serviceDetailOf(by *access.Principal, s *catalog.Service) serviceDetail {
	d := serviceDetail{ServiceRow: serviceRowOf(s), ConfigSchema: rest.Object(s.ConfigSchema), Capabilities: s.Capabilities, ConfigScope: string(s.ConfigScope),
		Transport: string(s.Transport), Era: string(s.Era), TimeoutMs: s.Timeout.Milliseconds(), ReadPrice: s.ReadPrice, CreatedAt: rest.At(s.CreatedAt), UpdatedAt: rest.At(s.UpdatedAt)}
	if s.Organization == by.Organization {
		d.URL, d.HeaderNames = s.URL, s.HeaderNames
	}
	return d
}

type serviceList struct {
	Services []ServiceRow `json:"services"`
}

type serviceData struct {
	Service serviceDetail `json:"service"`
}

type listServices struct {
	rest.Page
	Filter string `query:"filter" maxLength:"200" doc:"Part of a name or description."`
}

// ByService is the input of what is about one service.
type ByService struct {
	ID string `path:"serviceId" maxLength:"64"`
}

type configure struct {
	ByService
	Body configureBody
}

type configureBody struct {
	Config rest.Object `json:"config" doc:"Fits the service's configSchema. Secrets that are left out keep their value."`
}

type configured struct {
	ID           string `json:"id"`
	Name         string `json:"name"`
	IsConfigured bool   `json:"isConfigured"`
	Status       string `json:"status" enum:"active,unconfigured"`
}

type configuredData struct {
	Service configured `json:"service"`
}

// ServiceFields is what services and servers of one's own are made of.
type ServiceFields struct {
	Name         *string            `json:"name,omitempty" maxLength:"100"`
	Description  *string            `json:"description,omitempty" maxLength:"4000"`
	Version      *string            `json:"version,omitempty" maxLength:"64"`
	Headers      map[string]*string `json:"headers,omitempty" maxProperties:"50" doc:"Sent to the server; may hold {{config.NAME}}. Sealed and never shown again; null removes one."`
	Era          *string            `json:"era,omitempty" enum:"auto,legacy,modern"`
	TimeoutMs    *int64             `json:"timeoutMs,omitempty" minimum:"0" maximum:"3600000"`
	ConfigScope  *string            `json:"configScope,omitempty" enum:"organization,user"`
	ConfigSchema rest.Object        `json:"configSchema,omitempty" doc:"JSON Schema (2020-12) of an object; writeOnly fields are secrets."`
	Capabilities []string           `json:"capabilities,omitempty" maxItems:"32" maxLength:"64"`
}

// PriceFields is what a seller may say about prices when something is made.
type PriceFields struct {
	Price          *int64 `json:"price,omitempty" minimum:"0" maximum:"1000000000" doc:"Sellers only."`
	ReadPrice      *int64 `json:"readPrice,omitempty" minimum:"0" maximum:"1000000000"`
	ChargeRejected *bool  `json:"chargeRejected,omitempty" doc:"Whether a refusal by the server costs what an answer costs."`
}

type createService struct{ Body createServiceBody }

type createServiceBody struct {
	Slug      string `json:"slug" minLength:"1" maxLength:"32"`
	URL       string `json:"url" minLength:"1" maxLength:"2048"`
	Transport string `json:"transport,omitempty" enum:"http,sse,stdio"`
	ServiceFields
	PriceFields
}

type updateService struct {
	ByService
	Body updateServiceBody
}

type updateServiceBody struct {
	Slug *string `json:"slug,omitempty" maxLength:"32"`
	URL  *string `json:"url,omitempty" maxLength:"2048"`
	ServiceFields
}

// input makes the catalog's input.
func (f ServiceFields) input(slug, url string, p PriceFields) catalog.ServiceInput {
	in := catalog.ServiceInput{Slug: slug, URL: url, Name: deref(f.Name), Description: deref(f.Description), Version: deref(f.Version), Headers: map[string]string{},
		Era: catalog.Era(deref(f.Era)), Timeout: time.Duration(deref(f.TimeoutMs)) * time.Millisecond, ConfigScope: catalog.ConfigScope(deref(f.ConfigScope)),
		ConfigSchema: json.RawMessage(f.ConfigSchema), Capabilities: f.Capabilities, Price: p.Price, ReadPrice: p.ReadPrice, ChargeRejected: p.ChargeRejected}
	for name, value := range f.Headers {
		if value != nil {
			in.Headers[name] = *value
		}
	}
	return in
}

// change makes the catalog's change.
func (f ServiceFields) change(slug, url *string) catalog.ServiceChange {
	c := catalog.ServiceChange{Slug: slug, URL: url, Name: f.Name, Description: f.Description, Version: f.Version, Headers: f.Headers}
	if f.Era != nil {
		c.Era = new(catalog.Era(*f.Era))
	}
	if f.TimeoutMs != nil {
		c.Timeout = new(time.Duration(*f.TimeoutMs) * time.Millisecond)
	}
	if f.ConfigScope != nil {
		c.ConfigScope = new(catalog.ConfigScope(*f.ConfigScope))
	}
	if f.ConfigSchema != nil {
		c.ConfigSchema = new(json.RawMessage(f.ConfigSchema))
	}
	if f.Capabilities != nil {
		c.Capabilities = &f.Capabilities
	}
	return c
}

func deref[T any](p *T) T {
	var v T
	if p != nil {
		v = *p
	}
	return v
}

// either is the Guard of what both an organization and the operator may do.
func either(perm access.Permission) func(*access.Principal) error {
	return func(p *access.Principal) error {
		if p.Can(access.Operate) {
			return nil
		}
		return access.Require(p, perm)
	}
}

func (a *api) services() {
	tags := []string{"services"}
	read, admin := either(access.ServicesRead), either(access.ServicesAdmin)
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/mcp/services", ID: "listServices", Summary: "Services that I may use", Tags: tags, Guard: read}, a.listServices)
	rest.Handle(a.door, rest.Op{Method: "POST", Path: "/mcp/services", ID: "createService", Summary: "Add a service", Tags: tags,
		Detail: "An organization adds one of its own; an operator puts one on offer.", Guard: admin,
		Late: gateSecrets, Status: http.StatusCreated, Idempotent: true, Errors: []fault.Kind{fault.Unpaid}}, a.createService)
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/mcp/services/{serviceId}", ID: "getService", Summary: "A service", Tags: tags, Guard: read}, a.getService)
	rest.Handle(a.door, rest.Op{Method: "PATCH", Path: "/mcp/services/{serviceId}", ID: "updateService", Summary: "Change a service", Tags: tags, Guard: admin,
		Late: gateSecrets, Errors: []fault.Kind{fault.Conflict, fault.Unsupported}}, a.updateService)
	rest.Handle(a.door, rest.Op{Method: "DELETE", Path: "/mcp/services/{serviceId}", ID: "deleteService", Summary: "Remove a service", Tags: tags, Gate: gateDestructive, Guard: admin}, a.deleteService)
	rest.Handle(a.door, rest.Op{Method: "POST", Path: "/mcp/services/{serviceId}/configure", ID: "configureService", Summary: "Configure a service", Tags: tags, Late: gateSecrets, Permission: access.ServicesConfig}, a.configureService)
	rest.Handle(a.door, rest.Op{Method: "DELETE", Path: "/mcp/services/{serviceId}/configure", ID: "unconfigureService", Summary: "Forget a service's configuration", Tags: tags,
		Late: gateSecrets, Permission: access.ServicesConfig, Errors: []fault.Kind{fault.Unconfigured}}, a.unconfigureService)
}

func (a *api) listServices(ctx context.Context, in *listServices) (*rest.OK[serviceList, rest.Paged], error) {
	services, total, err := a.Catalog.ListServices(ctx, rest.Principal(ctx), in.Filter, catalog.Page{Limit: in.Limit, Offset: in.Offset()})
	if err != nil {
		return nil, err
	}
	var list serviceList
	for i := range services {
		list.Services = append(list.Services, serviceRowOf(&services[i]))
	}
	return rest.Ok(list, in.Of(total)), nil
}

func (a *api) getService(ctx context.Context, in *ByService) (*rest.OK[serviceData, rest.Meta], error) {
	by := rest.Principal(ctx)
	s, err := a.Catalog.GetService(ctx, by, in.ID)
	if err != nil {
		return nil, err
	}
	d := serviceDetailOf(by, s)
	c, err := a.Catalog.Configuration(ctx, by, in.ID)
	if err != nil {
		return nil, err
	}
	if c != nil {
		d.Configuration = &configuration{c.Values, c.Secrets, rest.At(c.UpdatedAt)}
	}
	return ok(serviceData{d}, "")
}

func (a *api) createService(ctx context.Context, in *createService) (*rest.OK[serviceData, rest.Meta], error) {
	by := rest.Principal(ctx)
	input := in.Body.input(in.Body.Slug, in.Body.URL, in.Body.PriceFields)
	input.Transport = catalog.Transport(in.Body.Transport)
	s, err := a.Catalog.CreateService(ctx, by, input)
	if err != nil {
		return nil, address(err)
	}
	rest.SetHeader(ctx, "Location", "/v1/mcp/services/"+s.ID)
	return ok(serviceData{serviceDetailOf(by, s)}, "")
}

func (a *api) updateService(ctx context.Context, in *updateService) (*rest.OK[serviceData, rest.Meta], error) {
	by := rest.Principal(ctx)
	s, err := a.Catalog.UpdateService(ctx, by, in.ID, in.Body.change(in.Body.Slug, in.Body.URL))
	if err != nil {
		return nil, address(err)
	}
	return ok(serviceData{serviceDetailOf(by, s)}, "")
}

func (a *api) deleteService(ctx context.Context, in *ByService) (*rest.None, error) {
	return nil, a.Catalog.RemoveService(ctx, rest.Principal(ctx), in.ID)
}

func (a *api) configureService(ctx context.Context, in *configure) (*rest.OK[configuredData, rest.Meta], error) {
	s, err := a.Catalog.Configure(ctx, rest.Principal(ctx), in.ID, json.RawMessage(in.Body.Config))
	if err != nil {
		return nil, err
	}
	return ok(configuredData{configured{s.ID, s.Name, s.Configured, "active"}}, "Service configured successfully")
}

func (a *api) unconfigureService(ctx context.Context, in *ByService) (*rest.None, error) {
	return nil, a.Catalog.Unconfigure(ctx, rest.Principal(ctx), in.ID)
}
