#include "fs/virtual.h"

#include "fs/node.h"
#include "fs/state.h"

#include "catalog/base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct virtual_file root_files[] = {
	{ .name = "README.md", .make = readme_root, .changing = true },
};
static const struct virtual_file meta_files[] = {
	{ .name = "status.json", .make = meta_status, .changing = true },
	{ .name = "metrics", .make = meta_metrics, .changing = true, .slow = true },
};
static const struct virtual_file domain_files[] = {
	{ .name = "README.md", .make = readme_domain, .changing = true },
};
static const struct virtual_file product_files[] = {
	{ .name = "README.md", .make = readme_product, .changing = true },
	{ .name = "contract.yaml", .make = product_contract, .changing = true, .optional = true },
};
static const struct virtual_file version_files[] = {
	{ .name = "contract.yaml", .make = version_contract, .optional = true },
	{ .name = "manifest.csv", .make = version_manifest, .slow = true },
	{ .name = "policy.txt", .make = version_policy, .changing = true },
	{ .name = "quality.json", .make = version_quality, .optional = true },
	{ .name = "lineage.json", .make = version_lineage, .changing = true, .slow = true },
	{ .name = "croissant.json", .make = version_croissant, .slow = true },
};

#define COUNT(table) (sizeof(table) / sizeof *(table))

const struct virtual_file *virtual_files(enum virtual_folder folder, size_t *ret_count)
{
	static const struct {
		const struct virtual_file *files;
		size_t count;
	} folders[VIRTUAL_FOLDERS] = {
		[VIRTUAL_ROOT] = { root_files, COUNT(root_files) },
		[VIRTUAL_META] = { meta_files, COUNT(meta_files) },
		[VIRTUAL_DOMAIN] = { domain_files, COUNT(domain_files) },
		[VIRTUAL_PRODUCT] = { product_files, COUNT(product_files) },
		[VIRTUAL_VERSION] = { version_files, COUNT(version_files) },
	};
	*ret_count = folders[folder].count;
	return folders[folder].files;
}

const struct virtual_file *virtual_find(enum virtual_folder folder, const char *name)
{
	size_t count;
	const struct virtual_file *files = virtual_files(folder, &count);
	for (size_t i = 0; i < count; i++) {
		if (!strcmp(files[i].name, name))
			return &files[i];
	}
	return NULL;
}

static int make(struct session *s, const struct vnode *v, struct buf *ret)
{
	struct err e = ERR_INIT;
	int r = v->file->make(s, v, ret, &e);
	if (!r)
		r = buf_check(ret);
	if (r && r != -ENOENT)
		log_error("%s: %s", v->key, e.code ? e.text : strerror(-r));
	return r == -ENOENT || !r ? r : -EIO;
}

int virtual_body(struct session *s, struct vnode *v, struct buf *ret)
{
	if (v->file->changing)
		return make(s, v, ret);
	int r = 0;
	pthread_mutex_lock(&v->lock);
	if (!v->body) {
		struct buf body = BUF_INIT;
		r = make(s, v, &body);
		if (!r) {
			buf_add(&body, "", 0); /* an empty file has a body, too */
			v->body_len = body.len;
			v->body = buf_reserve(&body, 1) ? buf_take(&body) : NULL;
			r = v->body ? 0 : -ENOMEM;
		}
		buf_free(&body);
	}
	if (!r)
		buf_add(ret, v->body, v->body_len);
	pthread_mutex_unlock(&v->lock);
	return r ? r : buf_check(ret);
}

const char *media_type_of(const char *path)
{
	static const struct {
		const char *ending, *type;
	} types[] = {
		{ ".csv", "text/csv" },
		{ ".tsv", "text/tab-separated-values" },
		{ ".psv", "text/plain" },
		{ ".jsonl", "application/x-ndjson" },
		{ ".ndjson", "application/x-ndjson" },
		{ ".json", "application/json" },
		{ ".parquet", "application/vnd.apache.parquet" },
		{ ".arrow", "application/vnd.apache.arrow.file" },
		{ ".feather", "application/vnd.apache.arrow.file" },
		{ ".yaml", "application/yaml" },
		{ ".yml", "application/yaml" },
		{ ".xml", "application/xml" },
		{ ".html", "text/html" },
		{ ".md", "text/markdown" },
		{ ".txt", "text/plain" },
		{ ".pdf", "application/pdf" },
		{ ".png", "image/png" },
		{ ".jpg", "image/jpeg" },
		{ ".jpeg", "image/jpeg" },
		{ ".gif", "image/gif" },
		{ ".webp", "image/webp" },
		{ ".tif", "image/tiff" },
		{ ".tiff", "image/tiff" },
		{ ".wav", "audio/wav" },
		{ ".mp3", "audio/mpeg" },
		{ ".flac", "audio/flac" },
		{ ".mp4", "video/mp4" },
		{ ".gz", "application/gzip" },
		{ ".zst", "application/zstd" },
		{ ".zip", "application/zip" },
		{ ".tar", "application/x-tar" },
		{ ".h5", "application/x-hdf5" },
		{ ".npy", "application/x-npy" },
		{ ".npz", "application/x-npz" },
		{ ".pt", "application/x-pytorch" },
		{ ".safetensors", "application/x-safetensors" },
		{ ".sqlite", "application/vnd.sqlite3" },
	};
	size_t len = strlen(path);
	for (size_t i = 0; i < COUNT(types); i++) {
		size_t n = strlen(types[i].ending);
		if (len > n && !strcasecmp(path + len - n, types[i].ending))
			return types[i].type;
	}
	return "application/octet-stream";
}
