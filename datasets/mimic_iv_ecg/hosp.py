"""Clinical values of every recording from MIMIC-IV's hospital tables.

For each recording: the blood pressure nearest to its day, seated before other postures; the nearest
cholesterols; smoking and diabetes from the codes of any admission until shortly after it; age from
the anchor. A value that cannot be true is left out and the next nearest is taken.
"""

import pathlib

import duckdb

from clef_jax.building import table
from clef_jax.building.clinical import Settings
from clef_jax.errors import UserError

COLUMNS = {
    "patients": ("subject_id", "gender", "anchor_age", "anchor_year"),
    "omr": ("subject_id", "chartdate", "seq_num", "result_name", "result_value"),
    "labevents": ("subject_id", "itemid", "charttime", "valuenum", "valueuom"),
    "diagnoses_icd": ("subject_id", "hadm_id", "icd_code", "icd_version"),
    "admissions": ("hadm_id", "admittime"),
}
TOTAL_CHOLESTEROL_ITEM = 50907
HDL_ITEM = 50904
MG_DL_PER_MMOL_L = 38.67

_PATIENT = """
CREATE TABLE patient AS
SELECT TRY_CAST(subject_id AS BIGINT) AS subject,
  min(CASE upper(trim(gender)) WHEN 'M' THEN 1 WHEN 'F' THEN 0 END) AS male,
  min(TRY_CAST(anchor_age AS INTEGER)) AS anchor_age,
  min(TRY_CAST(anchor_year AS INTEGER)) AS anchor_year
FROM patients GROUP BY subject
"""
_PRESSURE = """
CREATE TABLE pressure AS
SELECT subject, day, seq, posture, sbp,
  coalesce(sbp BETWEEN 50 AND 300 AND dbp BETWEEN 20 AND 200 AND dbp < sbp, false) AS plausible
FROM (
  SELECT TRY_CAST(subject_id AS BIGINT) AS subject, TRY_CAST(chartdate AS TIMESTAMP)::DATE AS day,
    coalesce(TRY_CAST(seq_num AS INTEGER), 0) AS seq,
    CASE WHEN result_name IN ('Blood Pressure', 'Blood Pressure Sitting') THEN 0 ELSE 1 END
      AS posture,
    TRY_CAST(regexp_extract(result_value, '^\\s*(\\d+)\\s*/\\s*(\\d+)\\s*$', 1) AS INTEGER) AS sbp,
    TRY_CAST(regexp_extract(result_value, '^\\s*(\\d+)\\s*/\\s*(\\d+)\\s*$', 2) AS INTEGER) AS dbp
  FROM omr
)
WHERE subject IN (SELECT subject FROM record)
"""
_CHOLESTEROL = """
CREATE TABLE cholesterol AS
SELECT subject, item, time, mg_dl,
  coalesce((unit IS NULL OR lower(unit) = 'mg/dl') AND CASE item
    WHEN $total THEN mg_dl BETWEEN 40 AND 1000 ELSE mg_dl BETWEEN 5 AND 250 END, false) AS plausible
FROM (
  SELECT TRY_CAST(subject_id AS BIGINT) AS subject, TRY_CAST(itemid AS INTEGER) AS item,
    TRY_CAST(charttime AS TIMESTAMP) AS time, TRY_CAST(valuenum AS DOUBLE) AS mg_dl,
    nullif(trim(valueuom), '') AS unit
  FROM labevents
)
WHERE subject IN (SELECT subject FROM record) AND mg_dl IS NOT NULL
"""
# ICD-10 F17.2x1 is nicotine dependence in remission: a former smoker.
_CODE = """
CREATE TABLE code AS
WITH coded AS (
  SELECT TRY_CAST(subject_id AS BIGINT) AS subject, hadm_id, upper(trim(icd_code)) AS code,
    TRY_CAST(icd_version AS INTEGER) AS version
  FROM diagnoses_icd
), judged AS (
  SELECT subject, hadm_id,
    CASE version
      WHEN 10 THEN code = 'Z720' OR (starts_with(code, 'F172') AND substr(code, 6, 1) <> '1')
      WHEN 9 THEN code = '3051' END AS smoker,
    CASE version
      WHEN 10 THEN code = 'Z87891' OR (starts_with(code, 'F172') AND substr(code, 6, 1) = '1')
      WHEN 9 THEN code = 'V1582' END AS former,
    CASE version
      WHEN 10 THEN substr(code, 1, 3) IN ('E08', 'E09', 'E10', 'E11', 'E12', 'E13')
      WHEN 9 THEN substr(code, 1, 3) IN ('249', '250') END AS diabetes
  FROM coded WHERE subject IN (SELECT subject FROM record)
)
SELECT subject, TRY_CAST(admittime AS TIMESTAMP) AS time, smoker, former, diabetes
FROM judged JOIN admissions USING (hadm_id) WHERE smoker OR former OR diabetes
"""
_JOINED = """
CREATE TABLE clinical AS
WITH nearest_pressure AS (
  SELECT line, arg_min(sbp,
    row(posture, abs(date_diff('day', record.time::DATE, day)), day, seq, sbp)) AS sbp
  FROM record JOIN pressure USING (subject)
  WHERE plausible AND abs(date_diff('day', record.time::DATE, day)) <= $pressure_days
  GROUP BY line
), nearest_cholesterol AS (
  SELECT line, item, arg_min(mg_dl,
    row(abs(epoch(record.time) - epoch(lab.time)), lab.time, mg_dl)) AS mg_dl
  FROM record JOIN cholesterol AS lab USING (subject)
  WHERE plausible
    AND abs(date_diff('day', record.time::DATE, lab.time::DATE)) <= $cholesterol_days
  GROUP BY line, item
), codes AS (
  SELECT line, bool_or(smoker) AS smoker, bool_or(former) AS former, bool_or(diabetes) AS diabetes
  FROM record JOIN code USING (subject)
  WHERE code.time <= record.time + to_days($code_days::INTEGER)
  GROUP BY line
), joined AS (
  SELECT line, path, subject, record.time AS time, male, sbp, total.mg_dl AS total,
    hdl.mg_dl AS hdl, anchor_age + year(record.time) - anchor_year AS age,
    CASE WHEN smoker THEN 1 WHEN former THEN 0 END AS smoker,
    CASE WHEN diabetes THEN 1 END AS diabetes,
    coalesce(hdl.mg_dl >= total.mg_dl, false) AS swapped
  FROM record LEFT JOIN patient USING (subject) LEFT JOIN nearest_pressure USING (line)
    LEFT JOIN codes USING (line)
    LEFT JOIN (FROM nearest_cholesterol WHERE item = $total) AS total USING (line)
    LEFT JOIN (FROM nearest_cholesterol WHERE item = $hdl) AS hdl USING (line)
)
SELECT line, path, subject, time, male, smoker, diabetes, sbp::DOUBLE AS sbp_mmhg, swapped,
  CASE WHEN age BETWEEN 0 AND 120 THEN age END AS age_years,
  CASE WHEN NOT swapped THEN total / $mg_dl_per_mmol_l END AS total_cholesterol_mmol_l,
  CASE WHEN NOT swapped THEN hdl / $mg_dl_per_mmol_l END AS hdl_mmol_l,
  row_number() OVER (PARTITION BY subject ORDER BY time NULLS LAST, line) AS nth
FROM joined
"""


def find(source: pathlib.Path, clinical_source: str | None) -> dict[str, pathlib.Path]:
    """The files of the hospital tables.

    Raises:
        UserError: the folder or one of the tables is not there; says where to get it.
    """
    where = "https://physionet.org/content/mimiciv/ (folder hosp)"
    given = pathlib.Path(clinical_source) if clinical_source else source
    folders = [given / "hosp", given] if clinical_source else [given / "hosp"]
    folder = next((f for f in folders if any(table.find(f, name) for name in COLUMNS)), None)
    if folder is None:
        raise UserError(
            f"There are no MIMIC-IV hospital tables in {' or '.join(map(str, folders))}, and the "
            "risk comes from them. Give their folder with --clinical-source=DIR, or "
            "--clinical-source=FILE.csv for a table with ready risks, or --clinical-source=none "
            f"to train without risk. The tables are at {where}.",
            problem="no_tables",
        )
    found = {name: table.find(folder, name) for name in COLUMNS}
    for name, path in found.items():
        if path is None:
            raise UserError(
                f"The table {name} is missing: neither {folder / name}.csv.gz nor {name}.csv is "
                f"there. Get it from {where}, or build without risk by --clinical-source=none.",
                problem="missing_file",
            )
    return {name: path for name, path in found.items() if path is not None}


def load(
    database: duckdb.DuckDBPyConnection, files: dict[str, pathlib.Path], settings: Settings
) -> None:
    """Creates the table `clinical`: every row of `record` with its observed values.

    Raises:
        UserError: one of the files is not the table that its name says.
    """
    wanted = {
        "omr": "starts_with(result_name, 'Blood Pressure')",
        "labevents": f"itemid IN ('{TOTAL_CHOLESTEROL_ITEM}', '{HDL_ITEM}')",
    }
    for name, path in files.items():
        table.view(database, name, path, COLUMNS[name], wanted.get(name, "TRUE"))
    database.execute(_PATIENT)
    database.execute(_PRESSURE)
    database.execute(_CHOLESTEROL, {"total": TOTAL_CHOLESTEROL_ITEM})
    database.execute(_CODE)
    database.execute(
        _JOINED,
        {
            "pressure_days": settings.pressure_window_days,
            "cholesterol_days": settings.cholesterol_window_days,
            "code_days": settings.code_window_days,
            "total": TOTAL_CHOLESTEROL_ITEM,
            "hdl": HDL_ITEM,
            "mg_dl_per_mmol_l": MG_DL_PER_MMOL_L,
        },
    )


def implausible(database: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """How many values were left out because they cannot be true, for the summary."""
    counts = {
        "blood pressures": "pressure WHERE NOT plausible",
        "cholesterols": "cholesterol WHERE NOT plausible",
        "recordings with HDL above total": "clinical WHERE swapped",
    }
    queries = {name: f"SELECT count(*) FROM {rest}" for name, rest in counts.items()}
    found = {name: _one(database, query) for name, query in queries.items()}
    return {"values left out as implausible": ", ".join(f"{n:,} {k}" for k, n in found.items())}


def _one(database: duckdb.DuckDBPyConnection, query: str) -> int:
    row = database.execute(query).fetchone()
    assert row is not None
    return row[0]
