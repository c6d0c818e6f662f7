/* What ODCS v3.1.0 asks of a contract, as tables: one shape per kind of map in the standard's JSON Schema. */
#include "catalog/contract.h"
#include "catalog/shape.h"

#include "catalog/base/text.h"

#include <string.h>

/* -- the shapes of the standard ----------------------------------------------------- */

static const struct shape role = {
	"a role",
	FIELDS(OPTIONAL("id", STABLE_ID), REQUIRED("role", TEXT), OPTIONAL("description", TEXT), OPTIONAL("access", TEXT),
	       OPTIONAL("firstLevelApprovers", TEXT), OPTIONAL("secondLevelApprovers", TEXT), CUSTOM),
	NULL
};

static int check_server(struct checker *k, const struct doc_node *n);

static const struct shape server = {
	"a server",
	FIELDS(OPTIONAL("id", STABLE_ID), REQUIRED("server", TEXT),
	       { "type", TEXT, true, NULL,
		 ALLOWED("api", "athena", "azure", "bigquery", "clickhouse", "databricks", "denodo", "dremio", "duckdb", "glue", "cloudsql",
			 "db2", "hive", "impala", "informix", "kafka", "kinesis", "local", "mysql", "oracle", "postgresql", "postgres",
			 "presto", "pubsub", "redshift", "s3", "sftp", "snowflake", "sqlserver", "synapse", "trino", "vertica", "zen",
			 "custom") },
	       OPTIONAL("description", TEXT), OPTIONAL("environment", TEXT), OF_SHAPE("roles", SHAPES, role), CUSTOM,
	       OPTIONAL("port", INTEGER), OPTIONAL("host", TEXT), OPTIONAL("location", TEXT), OPTIONAL("path", TEXT),
	       OPTIONAL("format", TEXT), OPTIONAL("database", TEXT), OPTIONAL("schema", TEXT), OPTIONAL("catalog", TEXT),
	       OPTIONAL("account", TEXT), OPTIONAL("project", TEXT), OPTIONAL("dataset", TEXT), OPTIONAL("endpointUrl", TEXT),
	       OPTIONAL("delimiter", TEXT), OPTIONAL("region", TEXT), OPTIONAL("regionName", TEXT), OPTIONAL("stagingDir", TEXT),
	       OPTIONAL("serviceName", TEXT), OPTIONAL("warehouse", TEXT), OPTIONAL("stream", TEXT)),
	check_server
};

static int check_server(struct checker *k, const struct doc_node *n)
{
	static const struct {
		const char *type, *fields[4];
	} wanted[] = {
		{ "api", { "location" } },
		{ "athena", { "stagingDir", "schema" } },
		{ "azure", { "location", "format" } },
		{ "bigquery", { "project", "dataset" } },
		{ "clickhouse", { "host", "port", "database" } },
		{ "databricks", { "catalog", "schema" } },
		{ "denodo", { "host", "port" } },
		{ "dremio", { "host", "port" } },
		{ "duckdb", { "database" } },
		{ "glue", { "account", "database" } },
		{ "cloudsql", { "host", "port", "database", "schema" } },
		{ "db2", { "host", "port", "database" } },
		{ "hive", { "host", "database" } },
		{ "impala", { "host", "database" } },
		{ "informix", { "host", "database" } },
		{ "zen", { "host", "database" } },
		{ "kafka", { "host" } },
		{ "local", { "path", "format" } },
		{ "mysql", { "host", "port", "database" } },
		{ "oracle", { "host", "port", "serviceName" } },
		{ "postgresql", { "host", "port", "database", "schema" } },
		{ "postgres", { "host", "port", "database", "schema" } },
		{ "presto", { "host" } },
		{ "pubsub", { "project" } },
		{ "redshift", { "database", "schema" } },
		{ "s3", { "location" } },
		{ "sftp", { "location" } },
		{ "snowflake", { "account", "database", "schema" } },
		{ "sqlserver", { "host", "database", "schema" } },
		{ "synapse", { "host", "port", "database" } },
		{ "trino", { "host", "port", "catalog", "schema" } },
		{ "vertica", { "host", "port", "database", "schema" } },
	};
	const char *type = doc_get_text(n, "type");
	for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
		if (strcmp(wanted[i].type, type) != 0)
			continue;
		for (size_t f = 0; f < 4 && wanted[i].fields[f]; f++)
			if (doc_kind(doc_get(n, wanted[i].fields[f])) == DOC_NULL)
				return shape_bad(k, n, "a server of type %s must have '%s'", type, wanted[i].fields[f]);
	}
	return 0;
}

static int check_quality(struct checker *k, const struct doc_node *n);

static const struct shape quality = {
	"a quality check",
	FIELDS(OPTIONAL("id", STABLE_ID), DEFINITIONS, OPTIONAL("businessImpact", TEXT), CUSTOM, OPTIONAL("description", TEXT),
	       { "dimension", TEXT, false, NULL,
		 ALLOWED("accuracy", "completeness", "conformity", "consistency", "coverage", "timeliness", "uniqueness") },
	       OPTIONAL("method", TEXT), OPTIONAL("name", TEXT), OPTIONAL("schedule", TEXT), OPTIONAL("scheduler", TEXT),
	       OPTIONAL("severity", TEXT), OPTIONAL("tags", TEXTS),
	       { "type", TEXT, false, NULL, ALLOWED("text", "library", "sql", "custom") }, OPTIONAL("unit", TEXT),
	       { "metric", TEXT, false, NULL, ALLOWED("nullValues", "missingValues", "invalidValues", "duplicateValues", "rowCount") },
	       OPTIONAL("rule", TEXT), OPTIONAL("arguments", MAP), OPTIONAL("query", TEXT), OPTIONAL("engine", TEXT),
	       OPTIONAL("implementation", ANY), OPTIONAL("mustBe", ANY), OPTIONAL("mustNotBe", ANY),
	       OPTIONAL("mustBeGreaterThan", NUMBER), OPTIONAL("mustBeGreaterOrEqualTo", NUMBER), OPTIONAL("mustBeLessThan", NUMBER),
	       OPTIONAL("mustBeLessOrEqualTo", NUMBER), OPTIONAL("mustBeBetween", PAIR), OPTIONAL("mustNotBeBetween", PAIR)),
	check_quality
};

static int check_operators(struct checker *k, const struct doc_node *n, const char *what)
{
	static const char *const operators[] = { "mustBe",	    "mustNotBe",	   "mustBeGreaterThan", "mustBeGreaterOrEqualTo",
						 "mustBeLessThan", "mustBeLessOrEqualTo", "mustBeBetween",	 "mustNotBeBetween" };
	int found = 0;
	for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
		found += doc_get(n, operators[i]) != NULL;
	if (found == 1)
		return 0;
	return shape_bad(k, n, found ? "%s must have one operator (mustBe…), not several" : "%s must have an operator (mustBe…)", what);
}

static int check_quality(struct checker *k, const struct doc_node *n)
{
	const char *type = doc_get_text(n, "type");
	bool library = doc_get(n, "metric") || (type && !strcmp(type, "library"));
	if (library) {
		if (!doc_get(n, "metric"))
			return shape_bad(k, n, "a library check must have 'metric'");
		return check_operators(k, n, "a library check");
	}
	if (type && !strcmp(type, "sql")) {
		if (!doc_get(n, "query"))
			return shape_bad(k, n, "an sql check must have 'query'");
		return check_operators(k, n, "an sql check");
	}
	const struct doc_node *implementation = doc_get(n, "implementation");
	if (type && !strcmp(type, "custom") && (!doc_get(n, "engine") || !implementation))
		return shape_bad(k, n, "a custom check must have 'engine' and 'implementation'");
	const struct field as_text = OPTIONAL("implementation", TEXT);
	if (implementation && doc_kind(implementation) != DOC_MAP)
		return shape_check_field(k, &as_text, implementation);
	return 0;
}

static bool is_reference(const struct doc_node *n)
{
	double number;
	const char *t = doc_double(n, &number) ? doc_text(n) : NULL;
	static const char name[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";
	if (!t || !*t)
		return false;
	if (strchr(t, '/'))
		return true; /* a fully qualified reference: a path of ids, perhaps into another file */
	size_t first = strspn(t, name);
	if (!first || t[first] != '.')
		return false;
	size_t second = strspn(t + first + 1, name);
	return second && !t[first + 1 + second];
}

static int check_references(struct checker *k, const struct doc_node *n, const char *field)
{
	const struct doc_node *v = doc_get(n, field);
	if (!v)
		return 0;
	if (doc_kind(v) == DOC_LIST) {
		if (!doc_count(v))
			return shape_bad(k, v, "'%s' refers to no column", field);
		for (size_t i = 0; i < doc_count(v); i++)
			if (!is_reference(doc_item(v, i)))
				return shape_bad(k, doc_item(v, i), "'%s' must refer to columns as object.column", field);
		return 0;
	}
	return is_reference(v) ? 0 : shape_bad(k, v, "'%s' must refer to a column as object.column", field);
}

static int check_column_relationship(struct checker *k, const struct doc_node *n)
{
	if (doc_get(n, "from"))
		return shape_bad(k, doc_get(n, "from"), "a column's relationship has no 'from': it is the column itself");
	if (!doc_get(n, "to"))
		return shape_bad(k, n, "a relationship must have 'to'");
	return check_references(k, n, "to");
}

static int check_object_relationship(struct checker *k, const struct doc_node *n)
{
	const struct doc_node *from = doc_get(n, "from"), *to = doc_get(n, "to");
	if (!from || !to)
		return shape_bad(k, n, "a relationship must have 'from' and 'to'");
	if (doc_kind(from) != doc_kind(to) || (doc_kind(from) == DOC_LIST && doc_count(from) != doc_count(to)))
		return shape_bad(k, n, "'from' and 'to' of a relationship must be two columns or two lists of the same length");
	int r = check_references(k, n, "from");
	return r ? r : check_references(k, n, "to");
}

#define RELATIONSHIP_FIELDS                                                                                                         \
	FIELDS({ "type", TEXT, false, NULL, ALLOWED("foreignKey") }, OPTIONAL("from", ANY), OPTIONAL("to", ANY), CUSTOM)
static const struct shape column_relationship = { "a relationship", RELATIONSHIP_FIELDS, check_column_relationship };
static const struct shape object_relationship = { "a relationship", RELATIONSHIP_FIELDS, check_object_relationship };

static int check_property(struct checker *k, const struct doc_node *n);
static const struct shape property, item;

#define PROPERTY_FIELDS(...)                                                                                                        \
	FIELDS(OPTIONAL("id", STABLE_ID), __VA_ARGS__, OPTIONAL("physicalType", TEXT), OPTIONAL("description", TEXT),               \
	       OPTIONAL("businessName", TEXT), DEFINITIONS, OPTIONAL("tags", TEXTS), CUSTOM, OPTIONAL("primaryKey", FLAG),          \
	       OPTIONAL("primaryKeyPosition", INTEGER),                                                                             \
	       { "logicalType", TEXT, false, NULL,                                                                                  \
		 ALLOWED("string", "date", "timestamp", "time", "number", "integer", "object", "array", "boolean") },               \
	       OPTIONAL("logicalTypeOptions", MAP), OPTIONAL("physicalName", TEXT), OPTIONAL("required", FLAG),                     \
	       OPTIONAL("unique", FLAG), OPTIONAL("partitioned", FLAG), OPTIONAL("partitionKeyPosition", INTEGER),                  \
	       OPTIONAL("classification", TEXT), OPTIONAL("encryptedName", TEXT), OPTIONAL("transformSourceObjects", TEXTS),        \
	       OPTIONAL("transformLogic", TEXT), OPTIONAL("transformDescription", TEXT), OPTIONAL("examples", LIST),                \
	       OPTIONAL("criticalDataElement", FLAG), OF_SHAPE("relationships", SHAPES, column_relationship),                       \
	       OF_SHAPE("quality", SHAPES, quality), OF_SHAPE("properties", SHAPES, property), OF_SHAPE("items", SHAPE, item))

static const struct shape property = { "a property", PROPERTY_FIELDS(REQUIRED("name", TEXT)), check_property };
static const struct shape item = { "'items'", PROPERTY_FIELDS(OPTIONAL("name", TEXT)), check_property };

#define MOMENT_FIELDS                                                                                                               \
	OPTIONAL("format", TEXT), OPTIONAL("exclusiveMaximum", TEXT), OPTIONAL("maximum", TEXT), OPTIONAL("exclusiveMinimum", TEXT), \
		OPTIONAL("minimum", TEXT)
#define NUMBER_FIELDS                                                                                                               \
	OPTIONAL("multipleOf", POSITIVE), OPTIONAL("maximum", NUMBER), OPTIONAL("exclusiveMaximum", NUMBER),                        \
		OPTIONAL("minimum", NUMBER), OPTIONAL("exclusiveMinimum", NUMBER)

static int check_object_options(struct checker *k, const struct doc_node *n)
{
	const struct doc_node *required = doc_get(n, "required");
	return required && !doc_count(required) ? shape_bad(k, required, "'required' names no property") : 0;
}

static const struct {
	const char *type;
	struct shape shape;
} type_options[] = {
	{ "string",
	  { "logicalTypeOptions of a string",
	    FIELDS(OPTIONAL("minLength", COUNT), OPTIONAL("maxLength", COUNT), OPTIONAL("pattern", TEXT), OPTIONAL("format", TEXT)), NULL } },
	{ "date", { "logicalTypeOptions of a date", FIELDS(MOMENT_FIELDS), NULL } },
	{ "timestamp",
	  { "logicalTypeOptions of a timestamp", FIELDS(MOMENT_FIELDS, OPTIONAL("timezone", FLAG), OPTIONAL("defaultTimezone", TEXT)), NULL } },
	{ "time",
	  { "logicalTypeOptions of a time", FIELDS(MOMENT_FIELDS, OPTIONAL("timezone", FLAG), OPTIONAL("defaultTimezone", TEXT)), NULL } },
	{ "integer",
	  { "logicalTypeOptions of an integer",
	    FIELDS(NUMBER_FIELDS,
		   { "format", TEXT, false, NULL, ALLOWED("i8", "i16", "i32", "i64", "i128", "u8", "u16", "u32", "u64", "u128") }),
	    NULL } },
	{ "number",
	  { "logicalTypeOptions of a number", FIELDS(NUMBER_FIELDS, { "format", TEXT, false, NULL, ALLOWED("f32", "f64") }), NULL } },
	{ "object",
	  { "logicalTypeOptions of an object",
	    FIELDS(OPTIONAL("maxProperties", COUNT), OPTIONAL("minProperties", COUNT), OPTIONAL("required", TEXTS)), check_object_options } },
	{ "array",
	  { "logicalTypeOptions of an array",
	    FIELDS(OPTIONAL("maxItems", COUNT), OPTIONAL("minItems", COUNT), OPTIONAL("uniqueItems", FLAG)), NULL } },
};

/* A closed map: unlike elsewhere, options that the type does not know would be checks that never run. */
static int check_options(struct checker *k, const struct doc_node *options, const struct shape *shape)
{
	const char *names[16];
	size_t count = 0;
	for (const struct field *f = shape->fields; f->name; f++)
		names[count++] = f->name;
	for (size_t i = 0; i < doc_count(options); i++) {
		size_t at = 0;
		while (at < count && strcmp(names[at], doc_key(options, i)) != 0)
			at++;
		const char *near = at < count ? NULL : text_nearest(doc_key(options, i), names, count);
		if (at == count && near)
			return shape_bad(k, doc_key_node(options, i), "%s have no '%s' (did you mean '%s'?)", shape->what, doc_key(options, i), near);
		if (at == count)
			return shape_bad(k, doc_key_node(options, i), "%s have no '%s'", shape->what, doc_key(options, i));
	}
	return shape_check(k, options, shape);
}

static int check_property(struct checker *k, const struct doc_node *n)
{
	const char *type = doc_get_text(n, "logicalType");
	const struct doc_node *options = doc_get(n, "logicalTypeOptions");
	if (options && !type && doc_count(options))
		return shape_bad(k, options, "logicalTypeOptions want a logicalType that says which of them there are");
	for (size_t i = 0; options && type && i < sizeof type_options / sizeof *type_options; i++)
		if (!strcmp(type, type_options[i].type))
			return check_options(k, options, &type_options[i].shape);
	return 0;
}

static const struct shape object = {
	"a schema object",
	FIELDS(OPTIONAL("id", STABLE_ID), REQUIRED("name", TEXT), OPTIONAL("physicalType", TEXT), OPTIONAL("description", TEXT),
	       OPTIONAL("businessName", TEXT), DEFINITIONS, OPTIONAL("tags", TEXTS), CUSTOM,
	       { "logicalType", TEXT, false, NULL, ALLOWED("object") }, OPTIONAL("physicalName", TEXT),
	       OPTIONAL("dataGranularityDescription", TEXT), OF_SHAPE("properties", SHAPES, property),
	       OF_SHAPE("relationships", SHAPES, object_relationship), OF_SHAPE("quality", SHAPES, quality)),
	NULL
};

static const struct shape support = {
	"a support channel",
	FIELDS(OPTIONAL("id", STABLE_ID), REQUIRED("channel", TEXT), OPTIONAL("url", TEXT), OPTIONAL("description", TEXT),
	       OPTIONAL("tool", TEXT), OPTIONAL("scope", TEXT), OPTIONAL("invitationUrl", TEXT), CUSTOM),
	NULL
};

static const struct shape price = {
	"'price'",
	FIELDS(OPTIONAL("id", STABLE_ID), OPTIONAL("priceAmount", NUMBER), OPTIONAL("priceCurrency", TEXT), OPTIONAL("priceUnit", TEXT)), NULL
};

static const struct shape sla = {
	"a service level property",
	FIELDS(OPTIONAL("id", STABLE_ID), REQUIRED("property", TEXT), REQUIRED("value", SCALAR), OPTIONAL("valueExt", SCALAR),
	       OPTIONAL("unit", TEXT), OPTIONAL("element", TEXT), OPTIONAL("driver", TEXT), OPTIONAL("description", TEXT),
	       OPTIONAL("scheduler", TEXT), OPTIONAL("schedule", TEXT)),
	NULL
};

static const struct shape description = {
	"'description'",
	FIELDS(OPTIONAL("usage", TEXT), OPTIONAL("purpose", TEXT), OPTIONAL("limitations", TEXT), DEFINITIONS, CUSTOM), NULL
};

static const struct shape contract_shape = {
	"a data contract",
	FIELDS(REQUIRED("version", TEXT),
	       { "apiVersion", TEXT, true, NULL, ALLOWED("v3.1.0", "v3.0.2", "v3.0.1", "v3.0.0", "v2.2.2", "v2.2.1", "v2.2.0") },
	       { "kind", TEXT, true, NULL, ALLOWED("DataContract") }, REQUIRED("id", TEXT), REQUIRED("status", TEXT), OPTIONAL("name", TEXT),
	       OPTIONAL("tenant", TEXT), OPTIONAL("tags", TEXTS), OF_SHAPE("servers", SHAPES, server), OPTIONAL("dataProduct", TEXT),
	       OF_SHAPE("description", SHAPE, description), OPTIONAL("domain", TEXT), OF_SHAPE("schema", SHAPES, object),
	       OF_SHAPE("support", SHAPES, support), OF_SHAPE("price", SHAPE, price), OPTIONAL("team", SOMETHING), OF_SHAPE("roles", SHAPES, role),
	       OPTIONAL("slaDefaultElement", TEXT), OF_SHAPE("slaProperties", SHAPES, sla), DEFINITIONS, CUSTOM,
	       OPTIONAL("contractCreatedTs", TIME)),
	shape_check_team
};

int contract_validate(const struct contract *c, struct err *e)
{
	return shape_check_doc(contract_doc(c), &contract_shape, e);
}
