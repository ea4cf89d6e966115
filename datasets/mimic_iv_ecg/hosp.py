"""Reads the clinical values of every recording from MIMIC-IV's hospital tables.

For each recording, these are the blood pressure nearest to its day, where seated measurements are
preferred to other postures; the nearest cholesterols; smoking by the codes of the nearest admission
that has any, and diabetes by those of all, until shortly after the recording; and the age by the
anchor year. Implausible values and those without a number are excluded, and the next nearest is
used.
"""

import pathlib

import duckdb

from clef_jax import risk
from clef_jax.building import table
from clef_jax.building.clinical import Settings
from clef_jax.errors import UserError, counted

COLUMNS = {
    "patients": ("subject_id", "gender", "anchor_age", "anchor_year"),
    "omr": ("subject_id", "chartdate", "seq_num", "result_name", "result_value"),
    "labevents": ("subject_id", "itemid", "charttime", "valuenum", "valueuom"),
    "diagnoses_icd": ("subject_id", "hadm_id", "icd_code", "icd_version"),
    "admissions": ("hadm_id", "admittime"),
}
TOTAL_CHOLESTEROL_ITEM = 50907
HDL_ITEM = 50904
OLDEST_KNOWN_YEARS = 89
"""The highest anchor age that is an age; higher ones are masked as 91."""
_LIMITS = {
    f"{end}_{short}": getattr(risk.LIMITS[name], end)
    for short, name in {
        "sbp": "sbp_mmhg",
        "total": "total_cholesterol_mmol_l",
        "hdl": "hdl_mmol_l",
    }.items()
    for end in ("low", "high")
}

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
  coalesce(sbp BETWEEN $low_sbp AND $high_sbp AND dbp BETWEEN 20 AND 200 AND dbp < sbp, false)
    AS plausible
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
SELECT subject, item, time, mmol_l, mmol_l IS NULL AS censored,
  coalesce((unit IS NULL OR lower(unit) = 'mg/dl') AND CASE item
    WHEN $total_item THEN mmol_l BETWEEN $low_total AND $high_total
    ELSE mmol_l BETWEEN $low_hdl AND $high_hdl END, false) AS plausible
FROM (
  SELECT TRY_CAST(subject_id AS BIGINT) AS subject, TRY_CAST(itemid AS INTEGER) AS item,
    TRY_CAST(charttime AS TIMESTAMP) AS time,
    TRY_CAST(valuenum AS DOUBLE) / $mg_dl_per_mmol_l AS mmol_l, nullif(trim(valueuom), '') AS unit
  FROM labevents
)
WHERE subject IN (SELECT subject FROM record)
"""
# ICD-10 F17.2x1 is nicotine dependence in remission: a former smoker.
_CODE = """
CREATE TABLE code AS
WITH coded AS (
  SELECT TRY_CAST(subject_id AS BIGINT) AS subject, hadm_id, upper(trim(icd_code)) AS code,
    TRY_CAST(icd_version AS INTEGER) AS version
  FROM diagnoses_icd
), classified AS (
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
SELECT subject, hadm_id, TRY_CAST(admittime AS TIMESTAMP) AS time, smoker, former, diabetes
FROM classified JOIN admissions USING (hadm_id) WHERE smoker OR former OR diabetes
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
  SELECT line, item, bool_or(censored) AS censored, arg_min(mmol_l,
    row(abs(epoch(record.time) - epoch(lab.time)), lab.time, mmol_l)) FILTER (plausible) AS mmol_l
  FROM record JOIN cholesterol AS lab USING (subject)
  WHERE abs(date_diff('day', record.time::DATE, lab.time::DATE)) <= $cholesterol_days
  GROUP BY line, item
), admission AS (
  SELECT line, coalesce(bool_or(smoker), false) AS smoker, coalesce(bool_or(former), false) AS
    former, bool_or(diabetes) AS diabetes, abs(epoch(record.time) - epoch(code.time)) AS seconds
  FROM record JOIN code USING (subject)
  WHERE code.time <= record.time + to_days($code_days::INTEGER)
  GROUP BY line, hadm_id, seconds
), codes AS (
  SELECT line, bool_or(diabetes) AS diabetes,
    arg_min(smoker, row(seconds, NOT smoker)) FILTER (smoker OR former) AS smoker
  FROM admission GROUP BY line
), joined AS (
  SELECT line, path, subject, record.time AS time, male, sbp, total.mmol_l AS total,
    hdl.mmol_l AS hdl,
    CASE WHEN smoker THEN 1 WHEN NOT smoker THEN 0 END AS smoker,
    CASE WHEN diabetes THEN 1 END AS diabetes,
    coalesce(hdl.mmol_l >= total.mmol_l, false) AS swapped,
    coalesce((total.censored AND total.mmol_l IS NULL)
      OR (hdl.censored AND hdl.mmol_l IS NULL), false) AS censored,
    anchor_age > $oldest_years AS masked_anchor,
    least(anchor_age, $oldest_years + 1) + year(record.time) - anchor_year AS lowest_age
  FROM record LEFT JOIN patient USING (subject) LEFT JOIN nearest_pressure USING (line)
    LEFT JOIN codes USING (line)
    LEFT JOIN (FROM nearest_cholesterol WHERE item = $total_item) AS total USING (line)
    LEFT JOIN (FROM nearest_cholesterol WHERE item = $hdl_item) AS hdl USING (line)
)
SELECT line, path, subject, time, male, smoker, diabetes, sbp::DOUBLE AS sbp_mmhg, swapped,
  censored,
  CASE WHEN lowest_age BETWEEN 0 AND 120 THEN lowest_age END AS age_years,
  coalesce(masked_anchor, false) AS masked,
  CASE WHEN NOT swapped THEN total END AS total_cholesterol_mmol_l,
  CASE WHEN NOT swapped THEN hdl END AS hdl_mmol_l
FROM joined
"""


def find(source: pathlib.Path, clinical_source: str | None) -> dict[str, pathlib.Path]:
    """Returns the files of the hospital tables.

    Raises:
        UserError: the folder or one of the tables is missing; the message says where to get it.
    """
    where = "https://physionet.org/content/mimiciv/ (folder hosp)"
    given = pathlib.Path(clinical_source) if clinical_source else source
    folders = [given / "hosp", given] if clinical_source else [given / "hosp"]
    folder = next((f for f in folders if any(table.find_file(f, name) for name in COLUMNS)), None)
    if folder is None:
        raise UserError(
            "MIMIC-IV's hospital tables, from which the risk is computed, not found in "
            f"{' or '.join(map(str, folders))}. Give their folder with --clinical-source=DIR, a "
            "table of precomputed risks with --clinical-source=FILE.csv, or "
            f"--clinical-source=none to train without risk. The tables are at {where}.",
            problem="no_tables",
        )
    paths = {name: table.find_file(folder, name) for name in COLUMNS}
    for name, path in paths.items():
        if path is None:
            raise UserError(
                f"The table {name} is missing: neither {folder / name}.csv.gz nor {name}.csv "
                f"exists. Get it from {where}, or build without risk by --clinical-source=none.",
                problem="missing_file",
            )
    return {name: path for name, path in paths.items() if path is not None}


def load(
    database: duckdb.DuckDBPyConnection, files: dict[str, pathlib.Path], settings: Settings
) -> None:
    """Creates the table `clinical`: each row of `record` with its observed values.

    Args:
        database: the database, with the table `record`.
        files: the files of the hospital tables.
        settings: largest times between a recording and its values.

    Raises:
        UserError: a file lacks a required column.
    """
    wanted = {
        "omr": "starts_with(result_name, 'Blood Pressure')",
        "labevents": f"itemid IN ('{TOTAL_CHOLESTEROL_ITEM}', '{HDL_ITEM}')",
    }
    for name, path in files.items():
        table.create_view(database, name, path, COLUMNS[name], wanted.get(name, "TRUE"))
    values = {
        **_LIMITS,
        "pressure_days": settings.pressure_window_days,
        "cholesterol_days": settings.cholesterol_window_days,
        "code_days": settings.code_window_days,
        "total_item": TOTAL_CHOLESTEROL_ITEM,
        "hdl_item": HDL_ITEM,
        "mg_dl_per_mmol_l": risk.MG_DL_PER_MMOL_L,
        "oldest_years": OLDEST_KNOWN_YEARS,
    }
    for statement in (_PATIENT, _PRESSURE, _CHOLESTEROL, _CODE, _JOINED):
        used = {name: value for name, value in values.items() if f"${name}" in statement}
        database.execute(statement, used)


def excluded(database: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Returns the numbers of excluded values by reason, for the build's summary."""
    counts = {
        "blood pressures": "pressure WHERE NOT plausible",
        "cholesterols": "cholesterol WHERE NOT plausible AND NOT censored",
        "recordings with HDL above total": "clinical WHERE swapped",
    }
    queries = {name: f"SELECT count(*) FROM {rest}" for name, rest in counts.items()}
    numbers = {name: _fetch_number(database, query) for name, query in queries.items()}
    num_censored = _fetch_number(database, "SELECT count(*) FROM cholesterol WHERE censored")
    return {
        "values excluded as implausible": ", ".join(f"{n:,} {k}" for k, n in numbers.items()),
        "values excluded as censored": f"{counted(num_censored, 'cholesterol')} without a number",
    }


def _fetch_number(database: duckdb.DuckDBPyConnection, query: str) -> int:
    row = database.execute(query).fetchone()
    assert row is not None
    return row[0]
