package main_test

import (
	"encoding/json"
	"errors"

	"headgate/client"
)

// unlimit lifts the rate: the examples come faster than a plan allows.
func (w *world) unlimit() {
	w.Helper()
	operator, err := client.New(w.variables["HEADGATE_URL"], client.WithKey(w.operator))
	w.must(err)
	me, _, err := w.api.GetMe(w.ctx)
	w.must(err)
	_, _, err = operator.AdminSetPlan(w.ctx, me.User.Organization.ID, client.SetPlanBody{Plan: "operator"})
	w.must(err)
}

// fillWorkspaces makes workspaces, and what is kept of them.
func (w *world) fillWorkspaces() {
	w.Helper()
	for _, name := range []string{"Research", "Resting"} {
		made, _, err := w.api.CreateWorkspace(w.ctx, client.CreateWorkspaceBody{Name: name})
		w.must(err)
		if name == "Research" { // the example names it
			w.own["removeWorkspace"] = made.Workspace.ID
			continue
		}
		w.own["pauseWorkspace"], w.own["resumeWorkspace"] = made.Workspace.ID, made.Workspace.ID
	}
	agents, _, err := w.api.CreateWorkspace(w.ctx, client.CreateWorkspaceBody{Name: "Agents", Runtime: new("external")})
	w.must(err)
	w.agent = agents.Connection.Key
	template, _, err := w.api.ImportTemplate(w.ctx, client.ImportTemplateBody{Name: "mine", Files: map[string]string{"template.yaml": "name: Mine\n"}})
	w.must(err)
	bundle, _, err := w.api.ExportBundle(w.ctx, w.variables["WORKSPACE_ID"])
	w.must(err)
	plan, _, err := w.api.ImportBundle(w.ctx, client.ImportBundleBody{Bundle: bundle.Bundle, DryRun: new(true)})
	w.must(err)
	w.variables["TEMPLATE_ID"], w.variables["IMPORT_ID"] = template.ID, plan.ImportID
	w.variables["APPROVAL_ID"] = w.asked()
	w.variables["SECRET_KEY"], w.variables["ENTRY_NAME"] = "WEATHER_TOKEN", "memory"
	w.texts = append(w.texts, `"bundle":{}`, `"bundle":`+string(bundle.Bundle))
}

// asked is an approval that waits: a key wanted what the policy holds back.
func (w *world) asked() (id string) {
	w.Helper()
	_, _, err := w.api.SetApprovalPolicy(w.ctx, client.PolicyData{Gates: []string{"secrets"}})
	w.must(err)
	key, _, err := w.api.CreateOrganizationKey(w.ctx, client.CreateOrgKeyBody{Name: "asks"})
	w.must(err)
	by, err := client.New(w.variables["HEADGATE_URL"], client.WithKey(key.APIKey.Key))
	w.must(err)
	_, _, err = by.SetOrganizationSecret(w.ctx, "ASKED", client.SetSecretBody{Value: "x"})
	var waits *client.Error
	if !errors.As(err, &waits) || waits.Code != "APPROVAL_REQUIRED" {
		w.Fatalf("a key set a secret that the policy holds back: %v", err)
	}
	id, _ = waits.Details["approvalId"].(string)
	_, _, err = w.api.SetApprovalPolicy(w.ctx, client.PolicyData{Gates: []string{}})
	w.must(err) // the examples are of an organization that holds nothing back
	return id
}

// fillReports makes two reports and a schedule, and has examples about any
// server's URL mean one that answers.
func (w *world) fillReports() {
	w.Helper()
	var ids []string
	for range 2 {
		data, _, err := w.api.DoctorServer(w.ctx, w.variables["SERVER_ID"], client.DoctorServerBody{})
		w.must(err)
		ids = append(ids, data.Report.ID)
	}
	w.variables["REPORT_ID"] = ids[1]
	_, _, err := w.api.SetSchedule(w.ctx, w.variables["SERVER_ID"], client.SetScheduleBody{Cron: "0 5 * * *"})
	w.must(err)
	server, _, err := w.api.GetServer(w.ctx, w.variables["SERVER_ID"])
	w.must(err)
	url, err := json.Marshal(server.Server.URL)
	w.must(err)
	w.texts = append(w.texts, "since=example", "since="+ids[0], `"https://mcp.example.com/mcp"`, string(url))
}
