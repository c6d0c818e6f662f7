"""filter_peer.py ENGINE JOB SOURCE TARGET: the same filter by an engine, on one thread, and its CPU seconds; or for DuckDB:
convert (a CSV table to Parquet), wide (about SOURCE MiB of Parquet in many row groups), size (of two of its columns), columns (TARGET times the best time of reading six columns of a Parquet file)."""
import os
import sys
import time

engine, job, source, target = sys.argv[1:]
os.environ["POLARS_MAX_THREADS"] = "1"
if engine == "duckdb":
    import duckdb
    db = duckdb.connect(config={"threads": 1})
    mask = r"regexp_replace(email, '^(.)[^@]*@', '\1***@') AS email"
    if job == "convert":
        db.execute(f"COPY (SELECT * FROM read_csv('{source}')) TO '{target}' (FORMAT parquet, COMPRESSION snappy)")
    elif job == "wide":
        texts = ", ".join(f"md5(concat('{name}', i)) {name}" for name in ("email", "name", "country"))
        db.execute(f"COPY (SELECT i id, {texts}, i % 90 age, sqrt(i) amount, TIMESTAMP '2024-01-01' + to_seconds(i) ts, md5(concat('n', i)) || md5(concat('m', i)) notes "
                   f"FROM range({int(source)} * 5500) t(i)) TO '{target}' (FORMAT parquet, COMPRESSION snappy, ROW_GROUP_SIZE 61440)")
    elif job == "size":  # MiB of the columns that the rule drops
        print(db.execute(f"SELECT sum(total_compressed_size) / 1048576 FROM parquet_metadata('{source}') WHERE path_in_schema IN ('ts', 'notes')").fetchone()[0])
    elif job == "columns":
        times = []
        for _ in range(int(target) if target != "-" else 1):
            start = time.monotonic()
            db.execute(f"SELECT sum(id), sum(length(email)), sum(length(name)), sum(age), sum(length(country)), sum(amount) FROM '{source}'").fetchall()
            times.append(time.monotonic() - start)
        print(min(times))
    else:
        rows = {"csv": f"read_csv('{source}', header=true, all_varchar=true, delim=',', quote='\"', escape='\"')",
                "jsonl": f"read_json('{source}', format='newline_delimited')"}[job]
        how = {"csv": "FORMAT csv, HEADER", "jsonl": "FORMAT json"}[job]
        start = time.process_time()
        db.execute(f"COPY (SELECT id, {mask}, name, age, country, amount FROM {rows} WHERE country = 'DE') TO '{target}' ({how}, USE_TMP_FILE false)")
        print(time.process_time() - start)
else:
    import polars
    start = time.process_time()
    rows = polars.scan_csv(source, infer_schema=False) if job == "csv" else polars.scan_ndjson(source)
    rows = rows.filter(polars.col("country") == "DE").select(
        "id", polars.col("email").str.replace(r"^(.)[^@]*@", "${1}***@"), "name", "age", "country", "amount")
    (rows.sink_csv if job == "csv" else rows.sink_ndjson)(target)
    print(time.process_time() - start)
