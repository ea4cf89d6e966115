"""Ready risks from the metadata table that the public PyTorch reference was trained with.

Columns: path, gender (F or M), age_at_ecg, anchor_age, Blood Pressure ("120/70"), rate_meta (share
of missing values), score2_risk. Recordings that it does not list have an unknown risk.
"""

import pathlib

import duckdb

from clef_jax.building import table

COLUMNS = (
    "path",
    "gender",
    "age_at_ecg",
    "anchor_age",
    "Blood Pressure",
    "rate_meta",
    "score2_risk",
)
_SCALE = "SELECT coalesce(max(TRY_CAST(score2_risk AS DOUBLE)) > 1, false) FROM reference"
_CLINICAL = """
CREATE TABLE clinical AS
WITH told AS (
  SELECT path, any_value(
    {'male': CASE upper(trim(gender)) WHEN 'M' THEN 1 WHEN 'F' THEN 0 END,
     'age': coalesce(TRY_CAST(age_at_ecg AS DOUBLE), TRY_CAST(anchor_age AS DOUBLE)),
     'sbp': TRY_CAST(regexp_extract("Blood Pressure", '^\\s*(\\d+)\\s*/\\s*\\d+\\s*$', 1)
       AS DOUBLE),
     'missing': TRY_CAST(rate_meta AS DOUBLE),
     'risk': TRY_CAST(score2_risk AS DOUBLE) / $unit}) AS row
  FROM reference GROUP BY path
)
SELECT line, path, subject, time, row.male AS male,
  CASE WHEN row.age BETWEEN 0 AND 120 THEN row.age END AS age_years,
  CASE WHEN row.sbp BETWEEN 50 AND 300 THEN row.sbp END AS sbp_mmhg,
  NULL AS smoker, NULL AS diabetes, NULL AS total_cholesterol_mmol_l, NULL AS hdl_mmol_l,
  CASE WHEN row.risk BETWEEN 0 AND 1 THEN row.risk END AS risk,
  CASE WHEN row.missing BETWEEN 0 AND 1 THEN 1 - row.missing ELSE 0 END AS completeness,
  row IS NOT NULL AS listed,
  row_number() OVER (PARTITION BY subject ORDER BY time NULLS LAST, line) AS nth
FROM record LEFT JOIN told USING (path)
"""


def load(database: duckdb.DuckDBPyConnection, path: pathlib.Path) -> dict[str, str]:
    """Creates the table `clinical` with risk and completeness; returns lines of the summary.

    The risk is taken for percent if any value is above 1, otherwise for a fraction.

    Raises:
        UserError: the file is not this table.
    """
    table.view(database, "reference", path, COLUMNS)
    percent = database.execute(_SCALE).fetchall()[0][0]
    database.execute(_CLINICAL, {"unit": 100.0 if percent else 1.0})
    counts = "SELECT count(*), count(*) FILTER (listed), count(risk) FROM clinical"
    everything, listed, known = database.execute(counts).fetchall()[0]
    return {
        "score2_risk was read as": "percent" if percent else "a fraction",
        "recordings in that table": f"{listed:,} of {everything:,}, {known:,} with a risk",
    }
